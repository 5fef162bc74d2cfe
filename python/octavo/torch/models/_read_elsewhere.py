# SPDX-License-Identifier: Apache-2.0
"""Linear layers of transformers whose weight the module around them writes, or multiplies in a form that is no layer's product.

Their weights stay in float: writes into codes are refused, and a product with dequantised codes is slower than that with floats.
"""

from typing import NamedTuple

import torch

from ..layers._layer import EightBitModule


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


def read_elsewhere(owner: torch.nn.Module, layer: str, freeze: bool) -> str | None:
    """Why a layer of that name stays in float, by the module that has it; None where its calls read it, or a product with its
    codes (freeze)."""
    kind = type(owner)
    if not freeze and isinstance(owner, torch.nn.MultiheadAttention):
        return "MultiheadAttention reads its weight, which would train as floats (freeze=True)"
    if not kind.__module__.startswith("transformers."):
        return None
    return next((known.reason for known in _READERS if kind.__name__.endswith(known.owner) and known.layer == layer), None)


def call_layers_of(model: torch.nn.Module) -> None:
    """torch.nn.TransformerEncoderLayer reads float weights itself where nothing trains, but for one with hooks in it; and
    torch.nn.TransformerEncoder gives it nested tensors for that."""
    for module in model.modules():
        if isinstance(module, torch.nn.TransformerEncoderLayer) and isinstance(module.linear1, EightBitModule):
            if not module.dropout2._forward_pre_hooks:
                module.dropout2.register_forward_pre_hook(_nothing)
        elif isinstance(module, torch.nn.TransformerEncoder):
            module.use_nested_tensor = False


def _nothing(module: torch.nn.Module, x: object) -> None:
    pass
