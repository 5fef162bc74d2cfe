# SPDX-License-Identifier: Apache-2.0
"""Arguments as users write them, as operators' arguments."""

import numpy
import torch
from torch import Tensor

from ... import _octavo
from ..._octavo import UNDEFINED
from ._library import refuse_tangents


def as_tensor(value):
    """A scale or factor as an operator's argument: a tensor or None. Numbers, NumPy's too, and lists are float32."""
    if value is UNDEFINED or value is None:
        return None
    if isinstance(value, Tensor):
        return value
    if isinstance(value, (float, int)):
        return torch.full((), value, dtype=torch.float32, device="cpu")
    if isinstance(value, (list, tuple)):
        return torch.tensor(value, dtype=torch.float32, device="cpu")
    array = numpy.asarray(value)
    if array.ndim == 0 and array.dtype.kind in "fiub":
        return torch.full((), float(array), dtype=torch.float32, device="cpu")
    if array.dtype.kind == "V":  # of ml_dtypes; widening is exact
        array = array.astype(numpy.float32)
    if array.dtype.kind not in "fiu":
        raise ValueError("octavo: a scale or factor must be a number, a list of numbers or a tensor; got "
                         f"{type(value).__name__}")
    return _octavo._as_torch(array, "octavo", "scale")


def as_tensors(values):
    return None if values is None else [as_tensor(value) for value in values]


def as_dtype(value, operation, argument="out_dtype"):
    """A torch.dtype, or what names one as octavo.scaled_mm's out_dtype does."""
    if value is None or isinstance(value, torch.dtype):
        return value
    found = getattr(torch, value, None) if isinstance(value, str) else None  # which torch.compile traces
    if isinstance(found, torch.dtype):
        return found
    return getattr(torch, _octavo.dtype_name(value, operation, argument))


def parts(value, scale, granularity, side):
    """(data, scale, granularity, zero points) of an octavo.Quantized."""
    if scale is UNDEFINED:
        if value.row0 or value.col0:
            raise NotImplementedError(
                f"octavo.Quantized: a slice must begin with a cell of its scales in products of torch tensors; got one "
                f"that begins at ({value.row0}, {value.col0}) of one: pack it (octavo.pack)")
        scale = value.scale
        granularity = _granularity(value.rows, value.cols, side)
    return value.data, as_tensor(scale), granularity, value.azp


def _granularity(rows, cols, side):
    """The name of a scale grid; 0 is a whole extent."""
    outer, inner = (rows, cols) if side == "a" else (cols, rows)
    if outer == 0 and inner == 0:
        return "tensor"
    if outer == 1 and inner == 0:
        return "token" if side == "a" else "channel"
    if outer == 0 and inner == 1:
        return "per_k"
    if outer == 1:
        return "element" if inner == 1 else f"group{inner}"
    whole = 2**62  # a block longer than any operand
    return f"block{rows or whole}x{cols or whole}"


def check_no_gradient(operation, argument, *values):
    refuse_tangents(operation, values)
    if not torch.is_grad_enabled():
        return
    for value in values:
        if isinstance(value, torch.Tensor) and value.requires_grad:
            raise NotImplementedError(
                f"{operation}: {argument} must come without arguments that need a gradient; got one "
                "(leave it out, or call under torch.no_grad())")
