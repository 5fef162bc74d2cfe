# SPDX-License-Identifier: Apache-2.0
"""The weight of Linear8bitLt: float, int8 codes, or codes in the layout of the kernels."""

import copy
from typing import Any

import torch
from torch.utils._pytree import tree_map

from ... import _octavo
from .._state import MatmulLtState


class Int8Params(torch.nn.Parameter):
    """A weight [N, K] that becomes int8 codes where it is moved to a device (bitsandbytes' Int8Params).

    has_fp16_weights: stay float (weights that train). CB, SCB: codes and the absolute maxima of their
    rows, from the quantising until a layer's first product takes them into its state.
    """

    CB: torch.Tensor | None
    SCB: torch.Tensor | None
    has_fp16_weights: bool

    def __new__(cls, data: torch.Tensor | None = None, requires_grad: bool = True, has_fp16_weights: bool = False,
                CB: torch.Tensor | None = None, SCB: torch.Tensor | None = None, **kwargs: Any) -> "Int8Params":
        made = torch.Tensor._make_subclass(cls, torch.empty(0) if data is None else data, requires_grad)
        made.CB, made.SCB, made.has_fp16_weights = CB, SCB, has_fp16_weights
        return made

    def _quantize(self, device):
        if self.has_fp16_weights:
            return super().to(device)
        codes, absmax, _ = _octavo.int8_vectorwise_quant(self.data)
        self.data = self.CB = codes.to(device)
        self.SCB = absmax.to(device)
        return self

    def to(self, *args: Any, **kwargs: Any) -> "Int8Params":
        device, dtype, non_blocking, _ = torch._C._nn._parse_to(*args, **kwargs)
        quantized = self.data.dtype == torch.int8
        if not quantized and device is not None and device.type != "meta" and self.data.device.type == "cpu":
            return self._quantize(device)
        moved = Int8Params(super().to(device=device, dtype=None if quantized else dtype, non_blocking=non_blocking),
                           requires_grad=self.requires_grad, has_fp16_weights=self.has_fp16_weights)
        if quantized:
            moved.CB = moved.data
            moved.SCB = None if self.SCB is None or device is None else self.SCB.to(device)
            moved.SCB = self.SCB if device is None else moved.SCB
        return moved

    def cpu(self) -> "Int8Params":
        return self.to(device="cpu")

    def cuda(self, device: Any = None, non_blocking: bool = False) -> "Int8Params":
        return self.to(device="cuda" if device is None else device, non_blocking=non_blocking)

    def __deepcopy__(self, memo):
        return type(self)(copy.deepcopy(self.data, memo), self.requires_grad, self.has_fp16_weights,
                          copy.deepcopy(self.CB, memo), copy.deepcopy(self.SCB, memo))

    def __reduce_ex__(self, protocol):
        return _restore, (self.data, self.requires_grad, self.has_fp16_weights, self.CB, self.SCB)


def _restore(data, requires_grad, has_fp16_weights, CB, SCB):
    return Int8Params(data, requires_grad, has_fp16_weights, CB, SCB)


class PackedInt8Params(Int8Params):
    """The weight of a layer whose state has packed it: int8 [N, K], without memory of its own. Whatever
    reads it gets the codes, unpacked bit for bit."""

    @staticmethod
    def __new__(cls, state: MatmulLtState) -> "PackedInt8Params":
        shape = state.out_features, state.in_features
        made = torch.Tensor._make_wrapper_subclass(cls, shape, dtype=torch.int8)
        made._is_param = True
        made.state = state
        made.CB = made.SCB = None
        made.has_fp16_weights = False
        return made

    def __repr__(self, *, tensor_contents=None):
        return f"PackedInt8Params({self.state.packed()!r})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        def codes(value):
            return value.state.CB if isinstance(value, PackedInt8Params) else value

        return func(*tree_map(codes, args), **tree_map(codes, kwargs or {}))

    __torch_function__ = torch._C._disabled_torch_function_impl

    def to(self, *args, **kwargs):
        return Int8Params(self.state.CB, False, False, None, self.state.SCB).to(*args, **kwargs)

    def __deepcopy__(self, memo):
        return PackedInt8Params(copy.deepcopy(self.state, memo))

    def __reduce_ex__(self, protocol):
        return PackedInt8Params, (self.state,)


PackedInt8Params.__name__ = "Int8Params"  # transformers, PEFT and accelerate know the weight by it
