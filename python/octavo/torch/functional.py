# SPDX-License-Identifier: Apache-2.0
"""The products with the signatures of torch.nn.functional.

Unlike PyTorch's, they take every pair of recipes, every pair of operand types of octavo.scaled_mm, any
strides and sizes, biases of any float type, and have gradients. Recipes are
torch.nn.functional.ScalingType (or its values), swizzles torch.nn.functional.SwizzleType.
"""

from typing import Any, Sequence

import torch

from .. import _octavo
from . import _grouped
from ._library import define, differentiate
from ._operations import _dtype, _tensors

__all__ = ["grouped_mm", "scaled_grouped_mm", "scaled_mm"]


# One scale or, for recipes of two levels, a list; likewise recipes and swizzles (an enumeration's value).
_Scales = torch.Tensor | float | Sequence[torch.Tensor | float]
_Codes = Any


def scaled_mm(mat_a: torch.Tensor, mat_b: torch.Tensor, scale_a: _Scales, scale_recipe_a: _Codes,
              scale_b: _Scales, scale_recipe_b: _Codes, swizzle_a: _Codes = None,
              swizzle_b: _Codes = None, bias: torch.Tensor | None = None,
              output_dtype: torch.dtype | None = torch.bfloat16,
              contraction_dim: Sequence[int] = (), use_fast_accum: bool = False) -> torch.Tensor:
    """torch.nn.functional.scaled_mm: mat_a [M, K], mat_b [K, N], scales by explicit recipe."""
    _check_contraction("scaled_mm", contraction_dim)
    return _scaled_mm(mat_a, mat_b, *_scales(scale_a, scale_recipe_a),
                      *_scales(scale_b, scale_recipe_b), _codes(swizzle_a), _codes(swizzle_b), bias,
                      None, _dtype(output_dtype))


def scaled_grouped_mm(mat_a: torch.Tensor, mat_b: torch.Tensor, scale_a: _Scales,
                      scale_recipe_a: _Codes, scale_b: _Scales, scale_recipe_b: _Codes,
                      swizzle_a: _Codes = None, swizzle_b: _Codes = None,
                      bias: torch.Tensor | None = None, offs: torch.Tensor | None = None,
                      output_dtype: torch.dtype | None = torch.bfloat16,
                      contraction_dim: Sequence[int] = (),
                      use_fast_accum: bool = False) -> torch.Tensor:
    """torch.nn.functional.scaled_grouped_mm: the four tensor forms, scales by explicit recipe.

    offs: int32 or int64 cumulative ends [G]. Rows past the last one are zero.
    """
    _check_contraction("scaled_grouped_mm", contraction_dim)
    return _scaled_grouped_mm(mat_a, mat_b, *_scales(scale_a, scale_recipe_a),
                              *_scales(scale_b, scale_recipe_b), _codes(swizzle_a),
                              _codes(swizzle_b), bias, offs, _dtype(output_dtype))


def grouped_mm(mat_a: torch.Tensor, mat_b: torch.Tensor, *, offs: torch.Tensor | None = None,
               bias: torch.Tensor | None = None, out_dtype: torch.dtype | None = None) -> torch.Tensor:
    """torch.nn.functional.grouped_mm: the four tensor forms."""
    return _grouped.grouped_mm(mat_a, mat_b, offs, bias, None, None, None, None, None, None,
                               _dtype(out_dtype), None, None, False, None)


def _scales(scales, recipes):
    """Lists of scale tensors and of recipe values; a scale may be a number."""
    scales = scales if isinstance(scales, (list, tuple)) else [scales]
    return _tensors(scales), _codes(recipes)


def _codes(values):
    if values is None:
        return []
    values = values if isinstance(values, (list, tuple)) else [values]
    return [int(getattr(value, "value", value)) for value in values]


def _check_contraction(operation, contraction_dim):
    """Only the product of rows by columns exists; torch ignored other axes for some versions."""
    if tuple(contraction_dim) in ((), (1, 0), (-1, -2), (1, -2), (-1, 0)):
        return
    raise ValueError(f"{operation}: contraction_dim must be (), (1, 0) or (-1, -2); got "
                     f"{tuple(contraction_dim)} (transpose the operand instead)")


_ARGUMENTS = (
    "Tensor mat_a, Tensor mat_b, Tensor[] scale_a, int[] recipe_a, Tensor[] scale_b, "
    "int[] recipe_b, int[] swizzle_a, int[] swizzle_b, Tensor? bias, Tensor? offs, "
    "ScalarType? output_dtype"
)


def _define(name, kernel, vjp_kernel):
    """Registers one of the two operators: they differ in their kernels alone."""

    def fake(mat_a, mat_b, scale_a, recipe_a, scale_b, recipe_b, swizzle_a, swizzle_b, bias, offs,
             output_dtype):
        shape = (mat_a.shape[-2], mat_b.shape[-1])
        if mat_a.dim() == mat_b.dim() == 3:
            shape = (mat_a.shape[0], *shape)
        elif offs is not None and mat_a.dim() == mat_b.dim() == 2:
            shape = (offs.shape[0], *shape)
        return mat_a.new_empty(shape, dtype=output_dtype or torch.bfloat16)

    def run(mat_a, mat_b, scale_a, recipe_a, scale_b, recipe_b, swizzle_a, swizzle_b, bias, offs,
            output_dtype):
        return kernel(mat_a, mat_b, list(scale_a), recipe_a, list(scale_b), recipe_b, swizzle_a,
                      swizzle_b, bias, offs, output_dtype or "bfloat16")

    def vjp(grad, wanted, options, mat_a, mat_b, scale_a, recipe_a, scale_b, recipe_b, swizzle_a,
            swizzle_b, bias, offs, output_dtype):
        return vjp_kernel(grad, wanted, options, mat_a, mat_b, list(scale_a), recipe_a,
                          list(scale_b), recipe_b, swizzle_a, swizzle_b, bias, offs,
                          output_dtype or "bfloat16")

    operator = define(f"{name}({_ARGUMENTS}) -> Tensor", run, fake)
    differentiate(operator, _ARGUMENTS, vjp, (0, 1, 8), (0, 1))
    return operator


_scaled_mm = _define("functional_scaled_mm", _octavo.functional_scaled_mm,
                     _octavo.functional_scaled_mm_vjp)
_scaled_grouped_mm = _define("functional_scaled_grouped_mm", _octavo.functional_scaled_grouped_mm,
                             _octavo.functional_scaled_grouped_mm_vjp)
