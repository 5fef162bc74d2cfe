# SPDX-License-Identifier: Apache-2.0
"""Operands of 64-bit integers, which Python's literals are: taken as int8 where every value fits, else as uint8.

Source: specification section 1.
"""

import sys
from typing import Any

import numpy


def narrow(operation: str, name: str, x: Any) -> Any:
    """A NumPy array or torch tensor of int64 in 8 bits; anything else as it is.

    Raises: ValueError, which names the first element that fits neither type.
    """
    global _torch_int64
    if _torch_int64 is _INT64:
        _torch_int64 = getattr(sys.modules.get("torch"), "int64", _INT64)
    dtype = getattr(x, "dtype", None)
    if dtype is not _INT64 and dtype is not _torch_int64:
        return x
    low, high = (int(x.min()), int(x.max())) if 0 not in x.shape else (0, 0)
    if low >= -128 and high <= 127:
        return _cast(x, "int8")
    if low >= 0 and high <= 255:
        return _cast(x, "uint8")
    values = numpy.asarray(x)
    place = tuple(int(i) for i in numpy.argwhere((values < -128) | (values > (127 if low < 0 else 255)))[0])
    raise ValueError(f"{operation}: {name} must hold values of int8, or of uint8, where it is int64; got {int(values[place])} at "
                     f"{list(place)}")


_INT64 = numpy.dtype(numpy.int64)
_torch_int64: Any = _INT64  # PyTorch's own once it is there


def _cast(x, name):
    if isinstance(x, (numpy.ndarray, numpy.generic)):
        return x.astype(name)
    import torch

    return x.to(getattr(torch, name))
