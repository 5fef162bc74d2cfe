# SPDX-License-Identifier: Apache-2.0
"""octavo::scaled_mm, grouped_mm (tensor forms), scaled_grouped_mm; gradients.

The extension module's functions are the kernels themselves: they take the operators' arguments in the
operators' order.
"""

from types import SimpleNamespace

import torch

from ... import _octavo
from . import _schemas
from ._library import default_out_dtype, define, differentiate, direct


def _product(schema, shape, kernel, vjp):
    """Registers a product and its gradient. shape: arguments by name -> the result's shape."""
    names = [argument.split()[-1] for argument in schema.arguments.split(", ")]

    def fake(*arguments):
        a = SimpleNamespace(**dict(zip(names, arguments)))
        left, right = arguments[:2]
        return left.new_empty(shape(a), dtype=a.out_dtype or default_out_dtype(left.dtype, right.dtype))

    operator = define(f"{schema.name}({schema.arguments}) -> Tensor", kernel, fake)
    differentiate(operator, schema.arguments, vjp, schema.slots, schema.typed)
    return operator


def _of_two(a):
    torch._check(a.input.dim() == 2 and a.mat2.dim() == 2,
                 lambda: "scaled_mm: input and mat2 must be 2-D")
    m, k = reversed(a.input.shape) if a.trans_a else a.input.shape
    k_b, n = reversed(a.mat2.shape) if a.trans_b else a.mat2.shape
    torch._check(k == k_b, lambda: "scaled_mm: mat2.shape[0] must equal input.shape[1]")
    return m, n


def _of_groups(a):
    torch._check(a.input.dim() in (2, 3) and a.mat2.dim() in (2, 3),
                 lambda: "grouped_mm: input and mat2 must be 2-D or 3-D")
    torch._check(a.input.shape[-1] == a.mat2.shape[-2],
                 lambda: "grouped_mm: mat2.shape[-2] must equal input.shape[-1]")
    shape = (a.input.shape[-2], a.mat2.shape[-1])
    if a.input.dim() == 3 and a.mat2.dim() == 3:
        return a.input.shape[0], *shape
    if a.input.dim() == 2 and a.mat2.dim() == 2:
        return a.offs.shape[0] - int(a.offs_prefix), *shape
    return shape


def _of_batches(a):
    torch._check(a.input.dim() == 3 and a.weight.dim() == 3,
                 lambda: "scaled_grouped_mm: input and weight must be 3-D")
    return *a.input.shape[:2], a.weight.shape[1 if a.trans_b else 2]


scaled_mm = _product(_schemas.SCALED_MM, _of_two, _octavo.scaled_mm, _octavo.scaled_mm_vjp)
grouped_mm = _product(_schemas.GROUPED_MM, _of_groups, _octavo.grouped_mm, _octavo.grouped_mm_vjp)
scaled_grouped_mm = _product(_schemas.SCALED_GROUPED_MM, _of_batches, _octavo.scaled_grouped_mm,
                             _octavo.scaled_grouped_mm_vjp)

# What the routes call.
call_scaled_mm, call_grouped_mm, call_scaled_grouped_mm = map(direct, (scaled_mm, grouped_mm, scaled_grouped_mm))
