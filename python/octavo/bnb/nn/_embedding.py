# SPDX-License-Identifier: Apache-2.0
"""bitsandbytes' Embedding8bit."""

from typing import Any

import torch

from ...torch.layers._layer import EightBitModule, check_float
from ._params import Int8Params


class Embedding8bit(EightBitModule, torch.nn.Embedding):
    """A table of int8 rows with an absolute maximum each (bitsandbytes' signature).

    The float table is quantised where the module is moved (`.to("cpu")`) or at its first lookup. forward:
    indices of any shape; the result [..., embedding_dim] has the float table's type. For inference. As in
    bitsandbytes it has no state dictionary.

    Example:
        >>> import torch, octavo.bnb as bnb
        >>> bnb.nn.Embedding8bit(10, 4).to("cpu")(torch.tensor([1, 2])).shape
        torch.Size([2, 4])
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, device: Any = None,
                 dtype: torch.dtype | None = None) -> None:
        check_float("Embedding8bit", "dtype", dtype)
        super().__init__(num_embeddings, embedding_dim, device=device, dtype=dtype)
        self.dtype = self.weight.dtype
        self.weight = Int8Params(self.weight.data, requires_grad=False)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        weight = self.weight
        if weight.is_floating_point():
            check_float("Embedding8bit", "weight.dtype", weight.dtype)
            weight = self.weight = Int8Params(weight.data, requires_grad=False).to("cpu")
        if weight.SCB is None:
            raise ValueError("Embedding8bit: weight must be an Int8Params of a float table, or of codes with SCB; got "
                             f"{weight.dtype} without them")
        rows = torch.nn.functional.embedding(input, weight.data)
        maxima = torch.nn.functional.embedding(input, weight.SCB.view(-1, 1))
        return (rows * (maxima / 127)).to(self.dtype)

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        raise NotImplementedError("Embedding8bit: a state dictionary must be made of the float table (torch.nn.Embedding); "
                                  "got a request for one of the layer in 8 bits")
