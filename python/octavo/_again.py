# SPDX-License-Identifier: Apache-2.0
"""Arguments that a call did not take: once more as what they can only mean, or one sentence of what is wrong with them.

A call that is right never comes here. Lists of numbers are tensors of literals: integers are int8 or uint8 (codes), int32 or
int64 (indices), all others float32. Scales of float64 are taken where float32 holds every value.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy

from . import _octavo
from ._integers import narrow
from ._octavo import UNDEFINED, Checkpoint, ExpertWeights, PackedWeight, Quantized, Weight
from ._routing import is_torch

REFUSED = (TypeError, ValueError, RuntimeError, AttributeError, OverflowError, IndexError)


class _Wrong(Exception):
    """The rule that a value breaks, and the value in words where its repr does not do."""

    def __init__(self, rule: str, got: str | None = None) -> None:
        super().__init__(rule)
        self.rule, self.got = rule, got


def again(error: Exception, function: Callable[..., Any], kinds: Mapping[str, str | type], given: dict[str, Any],
          operation: str = "") -> Any:
    """Calls the function once more with arguments of their kinds, or raises.

    Args:
        error: what the call raised; raised again where nothing is wrong with the kinds of arguments.
        function: what the arguments go to. kinds: of all its arguments; given: their values, and more.
        operation: what sentences begin with; by default the function's name.

    Raises: ValueError (`operation: argument must <rule>; got <value>`), or what the function raises.
    """
    listed = any(str(kind).startswith("*") and isinstance(given[name], (list, tuple)) for name, kind in list(kinds.items())[:1])
    operation = operation or function.__name__
    call = _Call(operation, any(map(_holds_torch, given.values())), listed)
    own = str(error).startswith(f"{operation}: ")  # which says by itself why a missing argument is needed
    taken = {name: given[name] if own and given[name] is None else call.argument(name, kind, given[name])
             for name, kind in kinds.items() if name in given}
    if all(value is given[name] for name, value in taken.items()):
        raise error
    return function(**taken)


def _holds_torch(value):
    return is_torch(value) or isinstance(value, (list, tuple)) and any(map(is_torch, value))


def _shown(value):
    text = repr(value)
    return text if len(text) <= 80 else text[:80] + "..."


class _Call:
    """One call's arguments, each by its kind. An argument that is right already comes back as it is."""

    def __init__(self, operation: str, torch: bool, listed: bool) -> None:
        self.operation, self.torch, self.listed = operation, torch, listed  # listed: the list form of a grouped product

    def argument(self, name: str, kind: str | type, value: Any) -> Any:
        try:
            return self._of_kind(name, kind, value)
        except _Wrong as wrong:
            got = _shown(value) if wrong.got is None else wrong.got
            raise ValueError(f"{self.operation}: {name} must {wrong.rule}; got {got}") from None

    def _of_kind(self, name, kind, value):
        if isinstance(kind, type):
            return value if value is None else _one_of(kind, value)
        if kind.startswith("*"):
            kind = kind[1:]
            if self.listed:
                return self._entries(name, kind, value)
            if inspect.isgenerator(value):
                raise _Wrong("be a tensor, or a list or a tuple of tensors")
        optional, kind = kind.startswith("?"), kind.removeprefix("?")
        if optional and (value is None or value is UNDEFINED and kind in _TENSORS):
            return None
        return getattr(self, kind)(name, value)

    def _entries(self, name, kind, value):
        if (value is None or value is UNDEFINED) and (kind.startswith("?") or kind == "scale"):
            return None if kind.startswith("?") else value
        if not isinstance(value, (list, tuple)):
            raise _Wrong("be a list or a tuple")
        entries = [self.argument(f"{name}[{i}]", kind, entry) for i, entry in enumerate(value)]
        return value if all(a is b for a, b in zip(entries, value)) else entries

    # ---- tensors

    def codes(self, name, value):
        return value if isinstance(value, Quantized) else self._tensor(name, value, "codes")

    def weight(self, name, value):
        return value if isinstance(value, PackedWeight) else self.codes(name, value)

    def plain(self, name, value):
        return self._tensor(name, value, "codes")

    def floats(self, name, value):
        return self._tensor(name, value, "floats")

    def torch_tensor(self, name, value):
        """For functions of PyTorch's tensors alone."""
        value = self._tensor(name, value, "floats")
        return value if is_torch(value) else _octavo._as_torch(value, self.operation, name)

    def indices(self, name, value):
        return self._tensor(name, value, "indices")

    def out(self, name, value):
        if isinstance(value, (list, tuple)):
            raise _Wrong("be a tensor")
        return self._tensor(name, value, "floats")

    def _tensor(self, name, value, kind):
        if is_torch(value):
            return value
        if isinstance(value, (list, tuple)):
            value = self._literal(name, value, kind)
        elif not _is_array(value):
            raise _Wrong("be a tensor")
        return self._in_its_framework(name, value)

    def _literal(self, name, value, kind):
        rule = "be a tensor, or nested lists of numbers with equal lengths"
        try:
            array = numpy.asarray(value)
        except Exception:  # whatever an entry raises when it is asked for numbers
            raise _Wrong(rule) from None
        if array.dtype.kind not in "biuf":
            raise _Wrong(rule)
        if array.dtype.kind == "f" or kind == "floats":
            return array.astype(numpy.float32)
        if kind == "codes":
            return narrow(self.operation, name, array.astype(numpy.int64))
        fits = numpy.iinfo(numpy.int32)
        small = array.size == 0 or fits.min <= array.min() and array.max() <= fits.max
        return array.astype(numpy.int32 if small else numpy.int64)

    def _in_its_framework(self, name, array):
        """PyTorch's operators take tensors of PyTorch alone."""
        return _octavo._as_torch(array, self.operation, name) if self.torch else array

    # ---- scales

    def scale(self, name, value):
        rule = "be a number, a list of numbers or a tensor"
        if isinstance(value, int) and abs(value) >= 2**63:  # PyTorch's numbers end there
            if abs(value) >= 2**1023:
                raise _Wrong(rule)
            return float(value)
        if value is None or value is UNDEFINED or isinstance(value, (int, float)):
            return value
        if isinstance(value, (list, tuple)):
            return self._in_its_framework(name, self._literal(name, value, "floats"))
        if isinstance(value, numpy.generic) and value.dtype.kind in "biuf":
            return float(value)
        if not is_torch(value) and not (_is_array(value) and numpy.asarray(value).dtype.kind in "iufV"):
            raise _Wrong(rule)
        if str(getattr(value, "dtype", "")).rpartition(".")[2] != "float64":
            return value
        return _as_float32(value)

    # ---- words and numbers

    def flag(self, name, value):
        if isinstance(value, (bool, numpy.bool_)):
            return value if isinstance(value, bool) else bool(value)
        raise _Wrong("be True or False")

    def number(self, name, value):
        if isinstance(value, float) or isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**1023:
            return value
        if isinstance(value, numpy.generic) and value.dtype.kind in "iuf":
            return float(value)
        raise _Wrong("be a number")

    def integer(self, name, value):
        if isinstance(value, (int, numpy.integer)) and not isinstance(value, bool) and -2**31 <= value < 2**31:
            return value if isinstance(value, int) else int(value)
        raise _Wrong("be an integer of 32 bits")

    def text(self, name, value):
        if isinstance(value, str):
            return value
        raise _Wrong("be a string")

    def columns(self, name, value):
        if isinstance(value, (list, tuple)) or is_torch(value) or _is_array(value):
            return value
        raise _Wrong("be a list or a tensor of integers")

    def dtype(self, name, value):
        if value is None:
            raise _Wrong("be a data type")
        return value

    def any(self, name, value):
        return value

    def words(self, name, value):
        if isinstance(value, (list, tuple)) and all(isinstance(word, str) for word in value):
            return value
        raise _Wrong("be a list or a tuple of strings")

    # ---- objects of the package

    def torch_dtype(self, name, value):
        import torch

        if value is UNDEFINED:
            raise _Wrong("be a torch.dtype")
        known = getattr(torch, _octavo.dtype_name(self.dtype(name, value), self.operation, name))
        return value if value is known else known

    def packed(self, name, value):
        return _one_of(PackedWeight, value)

    def quantized(self, name, value):
        return _one_of(Quantized, value)

    def experts(self, name, value):
        return _one_of(ExpertWeights, value)

    def layer(self, name, value):
        return _one_of(Weight, value)

    def checkpoint(self, name, value):
        return _one_of(Checkpoint, value)

    def layers(self, name, value):
        if isinstance(value, (list, tuple)) and all(isinstance(entry, Weight) for entry in value):
            return value
        raise _Wrong("be a list or a tuple of octavo.types.Weight")


def _one_of(kind, value):
    if isinstance(value, kind):
        return value
    raise _Wrong(f"be of type {kind.__name__}" if not kind.__module__.startswith("octavo._") else f"be an octavo.{kind.__name__}")


_TENSORS = {"codes", "plain", "floats", "torch_tensor", "indices", "out", "columns"}


def _is_array(value):
    return isinstance(value, (numpy.ndarray, numpy.generic, memoryview)) or \
        any(hasattr(type(value), name) for name in ("__dlpack__", "__array_struct__", "__array_interface__"))


def _as_float32(value):
    """A float64 tensor in float32, which holds all its values."""
    if is_torch(value):
        import torch

        narrowed, wide = value.to(torch.float32), value.detach()
        same = torch.isclose(narrowed.detach().double(), wide, rtol=0, atol=0, equal_nan=True).cpu().numpy()
        values = wide.cpu().numpy()
    else:
        values = numpy.asarray(value)
        with numpy.errstate(over="ignore"):
            narrowed = values.astype(numpy.float32)
        same = (narrowed == values) | (values != values)
    if same.all():
        return narrowed
    place = [int(i) for i in numpy.argwhere(~same)[0]]
    number = repr(float(values[tuple(place)]))
    raise _Wrong("hold values of float32 where it is float64", f"{number} at {place}" if place else number)
