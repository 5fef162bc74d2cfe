# SPDX-License-Identifier: Apache-2.0
"""Linear layers of transformers whose weight the module around them writes, or multiplies in a form that is no layer's product.

Their weights stay in float: writes into codes are refused, and a product with dequantised codes is slower than that with floats.
"""

from typing import NamedTuple


class _Reader(NamedTuple):
    owner: str  # the end of the class's name
    layer: str
    reason: str


_READERS = (
    _Reader("RwkvSelfAttention", "output", "RWKV scales its weight in place"),
    _Reader("RwkvFeedForward", "value", "RWKV scales its weight in place"),
    _Reader("MobileBertLMPredictionHead", "dense", "MobileBERT multiplies by it and the embeddings as one weight"),
    _Reader("MHAttentionMap", "k_proj", "it is multiplied as a convolution"),  # DETR and its kin
    _Reader("MHAttentionMap", "k_linear", "it is multiplied as a convolution"),
)


def read_elsewhere(owner: object, layer: str) -> str | None:
    """Why a layer of that name stays in float, by the module that has it; None where nothing but its calls reads it."""
    kind = type(owner)
    if not kind.__module__.startswith("transformers."):
        return None
    return next((known.reason for known in _READERS if kind.__name__.endswith(known.owner) and known.layer == layer), None)
