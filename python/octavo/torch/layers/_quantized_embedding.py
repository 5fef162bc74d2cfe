# SPDX-License-Identifier: Apache-2.0
"""A table of embeddings in 8 bits, as files have it: a lookup dequantises the rows that it gathers."""

from typing import Any

import torch

from ..._octavo import Quantized, Weight
from ..operators._library import device_refusal
from ._layer import EightBitModule, brought, check_float, size_mismatch
from ._quantized_linear import check_whole, quantized_at
from ._weight import QuantizedWeight


class _Table:
    """The table as QuantizedWeight reads a packed weight."""

    activation = None  # nothing is multiplied by it

    def __init__(self, quantized: Quantized) -> None:
        self.quantized = quantized
        self.n, self.k = quantized.data.shape
        self.device = str(quantized.data.device)
        self.nbytes = sum(part.nbytes for part in (quantized.data, quantized.scale, quantized.azp) if part is not None)

    def unpack(self, like: torch.Tensor) -> Quantized:
        """[embedding_dim, num_embeddings] on the device of `like`."""
        return _at(self.quantized, like.device).T


class QuantizedEmbedding(EightBitModule):
    """rows[ids], a frozen torch.nn.Embedding with codes of 8 bits and scales of any grid; made by loading a folder that has one.

    forward: ids [...] of any integer type; the result [..., embedding_dim] is octavo.dequantize's of those rows, in the type
    of the float table that the codes stand for. No gradient flows.
    """

    def __init__(self, weight: Weight, dtype: torch.dtype, padding_idx: int | None = None) -> None:
        super().__init__()
        check_float("QuantizedEmbedding", "dtype", dtype)
        check_whole("QuantizedEmbedding", weight)
        self.num_embeddings, self.embedding_dim = weight.quantized.data.shape
        self.padding_idx = padding_idx
        self.scheme = weight.scheme
        self._show(quantized_at(weight, torch.device("cpu")), dtype)

    def _show(self, quantized, dtype):
        self._quantized, self._dtype = quantized, dtype
        self._packed = _Table(quantized)
        # What a lookup reads, where a compiler finds it.
        self._codes, self._scale = quantized.data, quantized.scale.float()
        self._azp = None if quantized.azp is None else quantized.azp.float()
        self._grid = quantized.rows, quantized.cols
        object.__setattr__(self, "weight", QuantizedWeight(self._packed, dtype))
        self._show_parameter(dtype, quantized.data.device)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        codes = self._codes if self._codes.dtype in (torch.int8, torch.uint8) else self._codes.view(torch.uint8)
        values = torch.nn.functional.embedding(input, codes).view(self._codes.dtype).float()
        rows, _ = self._grid
        cell = torch.zeros_like(input) if not rows else input if rows == 1 else input // rows
        if self._azp is not None:
            values = values - self._spread(torch.nn.functional.embedding(cell, self._azp))
        return (values * self._spread(torch.nn.functional.embedding(cell, self._scale))).to(self._dtype)

    def _spread(self, cells):
        """Values of a row's cells [..., cells] for its columns."""
        _, cols = self._grid
        return cells.repeat_interleave(cols, -1)[..., :self.embedding_dim] if cols else cells

    def quantized_weight(self) -> Quantized:
        """Codes [num_embeddings, embedding_dim] and scales, as an octavo.Quantized of torch tensors."""
        return self._quantized

    def _apply(self, fn, recurse=True):
        like = fn(torch.empty(0, dtype=self._dtype, device=self._quantized.data.device))
        if why := device_refusal(like.device):
            raise NotImplementedError(f"QuantizedEmbedding: device {why}")
        super()._apply(fn, recurse)
        self._show(_at(self._quantized, like.device), like.dtype)
        return self

    def __getstate__(self):
        return {**super().__getstate__(), "weight": None}

    def __setstate__(self, state):
        super().__setstate__(state)
        self._show(self._quantized, self._dtype)

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination.update({prefix + name: value for name, value in self._tensors().items()})

    def _tensors(self):
        q = self._quantized
        return {name: value for name, value in (("weight", q.data), ("weight_scale", q.scale), ("weight_zero_point", q.azp))
                if value is not None}

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, strict, missing, unexpected, errors):
        own = self._tensors()
        given = {name: state_dict[prefix + name] for name in own if prefix + name in state_dict}
        self._load_others(given, state_dict, prefix, local_metadata, strict, missing, unexpected, errors)
        missing.extend(prefix + name for name in own if name not in given)
        wrong = [size_mismatch(prefix + name, value.shape, own[name].shape) if value.shape != own[name].shape else
                 f"{prefix}{name} must be of {own[name].dtype}; got {value.dtype}"
                 for name, value in given.items() if (value.shape, value.dtype) != (own[name].shape, own[name].dtype)]
        errors.extend(wrong)
        if len(given) == len(own) and not wrong:
            q = self._quantized
            given = brought(given, q.data.device, local_metadata)
            self._show(Quantized(given["weight"], given["weight_scale"], given.get("weight_zero_point"), q.rows, q.cols), self._dtype)

    def extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}, scheme={self.scheme}"


def _at(quantized: Quantized, device: Any) -> Quantized:
    parts = (None if value is None else value.to(device) for value in (quantized.data, quantized.scale, quantized.azp))
    return Quantized(*parts, quantized.rows, quantized.cols)
