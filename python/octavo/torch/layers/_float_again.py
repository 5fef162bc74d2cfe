# SPDX-License-Identifier: Apache-2.0
"""A frozen layer whose weight is a float parameter for a while, and the codes it had.

Code that changes a weight in place (PEFT's merge) needs a float one. Afterwards the weight is quantised again, or the
layer gets its old codes back, bit for bit.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from ..._octavo import Quantized
from ..._operations import quantize

if TYPE_CHECKING:
    from ._quantized_linear import QuantizedLinear


class Codes(NamedTuple):
    """What a frozen layer computes by, and its bias."""

    packed: Any
    columns: torch.Tensor | None
    shared: Any
    bias: torch.Tensor | None  # a copy
    merged_bias: torch.Tensor | None = None  # the bias that a merge made of it: a copy

    @classmethod
    def of(cls, layer: "QuantizedLinear") -> "Codes":
        return cls(layer._packed, layer._columns, layer._shared, _copy_of_bias(layer))

    def merged(self, layer: "QuantizedLinear") -> "Codes":
        """The same, of a layer that something was merged into."""
        return self._replace(merged_bias=_copy_of_bias(layer))

    def has_merged_bias(self, layer: "QuantizedLinear") -> bool:
        """Whether the layer's bias is still that of the merge: it may have trained since."""
        bias = layer._parameters.get("bias")
        return bias is not None and self.merged_bias is not None and torch.equal(bias, self.merged_bias.to(bias))

    def restore(self, layer: "QuantizedLinear", dtype: torch.dtype, bias: bool = True) -> None:
        """Puts them back, on the layer's device of now. bias: that, too."""
        device = layer.weight.device
        layer._before_merge = None
        layer._columns = self.columns
        if self.shared is not None:
            layer._parameters.pop("weight", None)
            layer.frozen = True
            layer._dtype = dtype
            layer._share(*self.shared, self.packed)
        else:
            layer._freeze(self.packed, dtype)
        if bias and self.bias is not None:
            layer._parameters["bias"].data = self.bias.to(layer._parameters["bias"])
        if layer.weight.device != device:
            layer._bring(torch.empty(0, device=device), dtype)


def _copy_of_bias(layer):
    bias = layer._parameters.get("bias")
    return None if bias is None else bias.detach().clone()


@contextmanager
def float_weight(layer: "QuantizedLinear") -> Iterator[tuple[Codes, torch.dtype]]:
    """The layer has a weight and a bias of float32 within the block, whose end has to freeze it again; an error restores it."""
    codes, dtype, before = Codes.of(layer), layer.weight.dtype, layer._before_merge
    values = layer.weight.values(torch.float32).to(layer.weight.device)
    del layer.__dict__["weight"]
    layer.frozen = False
    layer.weight = torch.nn.Parameter(values, requires_grad=False)
    bias = layer._parameters.get("bias")
    of_bias = torch.float32 if bias is None else bias.dtype
    _convert_bias(layer, torch.float32)
    try:
        yield codes, dtype
    except BaseException:
        codes.restore(layer, dtype)
        layer._before_merge = before
        raise
    finally:
        _convert_bias(layer, of_bias)


def _convert_bias(layer, dtype):
    bias = layer._parameters.get("bias")
    if bias is not None:
        bias.data = bias.data.to(dtype)


def like(old: Quantized, values: torch.Tensor) -> Quantized:
    """A weight [N, K] quantised as another one is: its codes' type, the cells of its scales, zero points where it has some.

    Raises:
        ValueError: cells that octavo.quantize does not make.
    """
    n, k = values.shape
    rows, cols = old.rows or n, old.cols or k
    granularity = f"block{rows}x{cols}" if rows > 1 else f"group{cols}"
    if cols >= k and (rows >= n or rows == 1):
        granularity = "tensor" if rows >= n else "token"
    options: dict[str, Any] = {}
    if old.scale.dtype == torch.float8_e8m0fnu:
        options = {"rounding": "mx_floor" if (rows, cols) == (1, 32) else "power_of_two", "scale_dtype": "float8_e8m0fnu"}
    return quantize(values, str(old.data.dtype).removeprefix("torch."), granularity, azp=old.azp is not None, **options)


__all__ = ["Codes", "float_weight", "like"]
