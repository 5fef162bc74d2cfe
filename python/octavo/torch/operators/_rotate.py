# SPDX-License-Identifier: Apache-2.0
"""octavo::rotate, whose gradient is itself: the matrix is symmetric."""

from ... import _octavo
from ._library import define, differentiate, direct, row_major


def _kernel(x, block, out_dtype, backend):
    return _octavo.rotate(x, block, out_dtype, backend)


def _fake(x, block, out_dtype, backend):
    return row_major(x, out_dtype or x.dtype)


def _vjp(grad, wanted, options, x, block, out_dtype, backend):
    return [_octavo.rotate(grad, block, x.dtype, backend)]


_ARGUMENTS = "Tensor x, int block, ScalarType? out_dtype, str? backend"
rotate = define(f"rotate({_ARGUMENTS}) -> Tensor", _kernel, _fake)
differentiate(rotate, _ARGUMENTS, _vjp, (0,), (0,), like=row_major)
call_rotate = direct(rotate)
