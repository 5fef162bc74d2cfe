# SPDX-License-Identifier: Apache-2.0
"""The weight of a frozen layer, as code that looks at `layer.weight` expects it."""

from typing import Any, NoReturn

import torch
from torch.utils._pytree import tree_leaves, tree_map

from ... import _octavo
from ._weight_product import product_of, turns


class QuantizedWeight(torch.Tensor):
    """A packed weight that says it is a float tensor [out_features, in_features].

    It has the shape, type and device that the float weight had, and no memory of its own: a product of activations with it
    (torch.nn.functional.linear, x @ weight.T) is the layer's, in 8 bits; whatever else computes with it gets it dequantised.
    What would write into it or into a view of it, or needs its memory, raises RuntimeError: the layer would not see it.
    """

    @staticmethod
    def __new__(cls, packed, dtype, columns=None, scheme="", layer=None):
        weight = torch.Tensor._make_wrapper_subclass(cls, (packed.n, packed.k), dtype=dtype, device=packed.device)
        torch._C._set_throw_on_mutable_data_ptr(weight)
        weight.packed = packed
        weight.columns = columns  # of the float weight, in the order of the codes'; None: the same
        weight.scheme = scheme  # of the layer; its like take the codes as they are
        weight.layer = _no_layer if layer is None else layer
        return weight

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"QuantizedWeight({self.packed!r}, dtype={self.dtype})"

    # PyTorch's fused paths (torch.nn.TransformerEncoderLayer), which read memory, look whether a weight has this function.
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if (y := product_of(func, args, kwargs)) is not None:
            return y
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **kwargs)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        _check_no_write(func, args, kwargs)
        if func in _SAME:
            return _like(args[0], args[0]._again)
        if args and isinstance(args[0], QuantizedWeight) and args[0].dim() == 2 and turns(func, args):
            return _like(args[0], args[0]._transposed)
        if (y := product_of(func, args, kwargs)) is not None:
            return y
        result = func(*tree_map(_plain, args), **tree_map(_plain, kwargs))
        if not (_gives_views(func) and isinstance(args[0], QuantizedWeight)):
            return result
        return _like(args[0], lambda: tree_map(_read_only, result))

    def values(self, dtype: torch.dtype | None = None) -> torch.Tensor:
        """The dequantised weight: a new tensor. dtype: its own, or a more precise one."""
        quantized, rotation = self.packed.unpack(torch.empty(0, device="cpu")).T, (self.packed.activation or {}).get("rotation", 0)
        values = _octavo.dequantize(quantized, torch.float32 if rotation else dtype or self.dtype)
        if rotation:
            values = _octavo.rotate(values, rotation, dtype or self.dtype)
        return values if self.columns is None else torch.empty_like(values).index_copy_(1, self.columns, values)

    def _again(self):
        return QuantizedWeight(self.packed, self.dtype, self.columns, self.scheme, self.layer)

    def _transposed(self):
        return _Transposed(self)

    def __deepcopy__(self, memo: Any) -> "QuantizedWeight":
        memo[id(self)] = copied = self._again()  # codes never change
        return copied

    def __reduce_ex__(self, protocol: Any) -> Any:
        return QuantizedWeight, (self.packed, self.dtype, self.columns, self.scheme)

    @property
    def data(self) -> torch.Tensor:  # type: ignore[override]
        return self.detach()

    @data.setter
    def data(self, value: torch.Tensor) -> None:
        _refuse_write("data", self)

    def numpy(self, *, force: bool = False) -> Any:
        """The dequantised weight, read-only."""
        array = self.values().numpy(force=force)
        array.setflags(write=False)
        return array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        array = self.numpy()
        return array if dtype is None else array.astype(dtype, copy=False)

    def tolist(self) -> Any:
        return self.values().tolist()

    def __dlpack__(self, **options: Any) -> Any:
        return self.values().__dlpack__(**options)

    def data_ptr(self) -> int:
        _refuse_memory("data_ptr", self)

    def share_memory_(self) -> "QuantizedWeight":
        _refuse_memory("share_memory_", self)


class _View(QuantizedWeight):
    """Values of a frozen layer's weight that nobody can write into."""

    scheme = ""  # of no layer
    packed = None

    @staticmethod
    def __new__(cls, values):
        view = torch.Tensor._make_wrapper_subclass(cls, values.shape, values.stride(), values.storage_offset(),
                                                   dtype=values.dtype, device=values.device)
        torch._C._set_throw_on_mutable_data_ptr(view)
        view._values = values
        return view

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return repr(self._values)

    def values(self, dtype: torch.dtype | None = None) -> torch.Tensor:
        return self._values if dtype is None else self._values.to(dtype)

    def _again(self):
        return _View(self._values)

    def _transposed(self):
        return _View(self._values.t())

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _View, (self._values,)


class _Transposed(QuantizedWeight):
    """A frozen layer's weight transposed, [in_features, out_features]: as the right factor it multiplies in 8 bits."""

    scheme = ""
    packed = None

    @staticmethod
    def __new__(cls, weight):
        n, k = weight.shape
        transposed = torch.Tensor._make_wrapper_subclass(cls, (k, n), (1, k), dtype=weight.dtype, device=weight.device)
        torch._C._set_throw_on_mutable_data_ptr(transposed)
        transposed.of = weight
        return transposed

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"{self.of!r}.T"

    def values(self, dtype: torch.dtype | None = None) -> torch.Tensor:
        return self.of.values(dtype).t()

    def _again(self):
        return _Transposed(self.of)

    def _transposed(self):
        return self.of._again()

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _Transposed, (self.of,)


def _like(weight, make):
    """A view in inference mode is an inference tensor only where its base is one."""
    with torch.inference_mode(weight.is_inference()):
        return make()


def _no_layer():
    return None


_SAME = (torch.ops.aten.detach.default, torch.ops.aten.alias.default)


def _plain(value):
    return value.values() if isinstance(value, QuantizedWeight) else value


def _read_only(value):
    return _View(value) if isinstance(value, torch.Tensor) else value


def _gives_views(func):
    return any(result.alias_info is not None and not result.alias_info.is_write for result in func._schema.returns)


def _check_no_write(func, args, kwargs):
    for place, argument in enumerate(func._schema.arguments):
        if argument.is_write:
            given = args[place] if place < len(args) else kwargs.get(argument.name)
            for value in tree_leaves(given):
                if isinstance(value, QuantizedWeight):
                    _refuse_write(func._schema.name.removeprefix("aten::"), value)


class WriteRefused(RuntimeError):
    """A write into the weight of a frozen layer."""


def _refuse_write(operation: str, weight: torch.Tensor) -> NoReturn:
    raise WriteRefused(f"{operation}: tensor must not be the weight of a frozen layer, which has codes alone (assign a float "
                       "weight to layer.weight, or use load_state_dict or from_float); got a QuantizedWeight "
                       f"{list(weight.shape)}")


def _refuse_memory(operation: str, weight: torch.Tensor) -> NoReturn:
    raise RuntimeError(f"{operation}: tensor must have memory of its own, as the weight of a frozen layer has not (clone() "
                       f"makes a float tensor of it); got a QuantizedWeight {list(weight.shape)}")
