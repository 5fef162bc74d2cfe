# SPDX-License-Identifier: Apache-2.0
"""Functions that are written by hand, with the errors and conversions of arguments that _again.py has."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from . import _typing
from ._again import REFUSED, again
from ._octavo import Checkpoint, ExpertWeights, PackedWeight, Quantized, Weight

_Function = TypeVar("_Function", bound=Callable[..., Any])

# What arguments are to _again.py, by their annotations.
_BY_TYPE: dict[Any, str] = {
    _typing.Tensor: "floats", _typing.Tensor | None: "?floats", _typing.Operand: "codes", _typing.ScaleArgument: "scale",
    _typing.DTypeLike: "dtype", _typing.DTypeLike | None: "?dtype", float: "number", float | None: "?number", bool: "flag", int: "integer", str: "text",
    str | None: "?text", _typing.Side: "text", _typing.ShardAxis: "text", _typing.Rounding: "text", _typing.NonFinite: "text",
    _typing.Scheme: "text", _typing.StoredScheme: "text", Quantized: "quantized", PackedWeight: "packed", Weight: "layer",
    ExpertWeights: "experts", Checkpoint: "checkpoint", Sequence[Weight]: "layers",
}


def _kind_of(annotation):
    """By an annotation: PyTorch's, which cannot be named here, by its words."""
    words = str(annotation)
    if words in ("<class 'torch.Tensor'>", "typing.Optional[torch.Tensor]", "torch.Tensor | None"):
        return "torch_tensor" if words.startswith("<") else "?torch_tensor"
    return "torch_dtype" if words == "<class 'torch.dtype'>" else _BY_TYPE.get(annotation, "any")


def kinded(kinds: Mapping[str, str]) -> Callable[[_Function], _Function]:
    """For functions that must not have a wrapper: their arguments' kinds, for tests that walk all of them."""

    def decorate(function: _Function) -> _Function:
        own = inspect.signature(function).parameters
        function.kinds = {name: kind for name, kind in kinds.items() if name in own and kind != "any"}  # type: ignore[attr-defined]
        return function

    return decorate


def taking(**kinds: str | type) -> Callable[[_Function], _Function]:
    """For functions that are written by hand: kinds of arguments where their annotations do not say them.

    An argument of no kind is passed on as it is.
    """

    def decorate(function: _Function) -> _Function:
        signature = inspect.signature(function)
        every = {name: _kind_of(row.annotation) for name, row in signature.parameters.items()} | kinds

        @functools.wraps(function)
        def call(*arguments: Any, **named: Any) -> Any:
            try:
                return function(*arguments, **named)
            except REFUSED as error:
                given = signature.bind(*arguments, **named).arguments  # the same TypeError where names are wrong
                for name in ("options", "kwargs"):
                    given |= given.pop(name, {})
                return again(error, function, dict.fromkeys(given, "any") | every, given)

        call.kinds = {name: kind for name, kind in every.items() if kind != "any"}  # type: ignore[attr-defined]  # for tests
        return call  # type: ignore[return-value]

    return decorate
