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
    rows, from the quantising until a layer's first product takes them into its state, which is `state`
    from then on.

    Example:
        >>> import torch, octavo.bnb as bnb
        >>> weight = bnb.nn.Int8Params(torch.eye(4), requires_grad=False).to("cpu")
        >>> weight.dtype, weight.SCB.tolist()
        (torch.int8, [1.0, 1.0, 1.0, 1.0])
    """

    CB: torch.Tensor | None = None
    SCB: torch.Tensor | None = None
    has_fp16_weights: bool = False
    state: MatmulLtState | None = None

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
            absmax = self.state.SCB if self.SCB is None and self.state is not None else self.SCB
            moved.CB = moved.data
            moved.SCB = absmax if absmax is None or device is None else absmax.to(device)
        return moved

    def cpu(self) -> "Int8Params":
        return self.to(device="cpu")

    def cuda(self, device: Any = None, non_blocking: bool = False) -> "Int8Params":
        return self.to(device="cuda" if device is None else device, non_blocking=non_blocking)

    def __deepcopy__(self, memo):
        return _restore(*(copy.deepcopy(value, memo) for value in self._kept()))

    def __reduce_ex__(self, protocol):
        return _restore, self._kept()

    def _kept(self):
        return self.data, self.requires_grad, self.has_fp16_weights, self.CB, self.SCB, self.state


def _restore(data, requires_grad, has_fp16_weights, CB, SCB, state=None):
    made = Int8Params(data, requires_grad, has_fp16_weights, CB, SCB)
    made.state = state
    return made


class PackedInt8Params(Int8Params):
    """The weight of a layer whose state has packed it: int8 [N, K], without memory of its own. Whatever
    reads it gets a copy of the codes, unpacked bit for bit; what is written into it (`copy_`, `zero_`,
    `.data = codes`) goes into the state, but not what is written into such a copy (`.data[0] = 0`)."""

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
        kwargs = kwargs or {}

        def codes(value):
            return value.state.CB if isinstance(value, PackedInt8Params) else value

        plain, named = list(tree_map(codes, args)), tree_map(codes, kwargs)
        result = func(*plain, **named)
        for place, argument in enumerate(func._schema.arguments):
            given, new = (args[place], plain[place]) if place < len(args) else (kwargs.get(argument.name),
                                                                                named.get(argument.name))
            if argument.is_write and isinstance(given, PackedInt8Params):
                given.state.CB = new
        return result

    __torch_function__ = torch._C._disabled_torch_function_impl

    @property
    def data(self):
        return self.detach()

    @data.setter
    def data(self, codes):
        if codes.dtype != torch.int8 or codes.shape != self.shape:
            raise ValueError(f"Int8Params: data must be int8 codes {list(self.shape)} of the same SCB "
                             f"(load_state_dict takes a float weight); got {codes.dtype} {list(codes.shape)}")
        self.state.CB = codes

    def to(self, *args, **kwargs):
        return Int8Params(self.state.CB, False, False, None, self.state.SCB).to(*args, **kwargs)

    def __deepcopy__(self, memo):
        return PackedInt8Params(copy.deepcopy(self.state, memo))

    def __reduce_ex__(self, protocol):
        return PackedInt8Params, (self.state,)


PackedInt8Params.__name__ = "Int8Params"  # transformers, PEFT and accelerate know the weight by it
