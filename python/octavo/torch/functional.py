# SPDX-License-Identifier: Apache-2.0
"""The products with the signatures of torch.nn.functional.

Unlike PyTorch's, they take every pair of recipes, every pair of operand types of octavo.scaled_mm, any
strides and sizes, biases of any float type, and have gradients. Scales of BlockWise128x128 have PyTorch's padded layout
[round_up(K / 128, 4), N / 128], or [N / 128, K / 128] where that is no square. Recipes are
torch.nn.functional.ScalingType (or its values), swizzles torch.nn.functional.SwizzleType.
"""

from typing import Any, Sequence

import torch

from .. import _octavo
from .._taking import taking
from .operators import _routes
from .operators._arguments import as_dtype, as_tensors, check_no_gradient
from .operators._library import define, differentiate

__all__ = ["_scaled_mm", "grouped_mm", "scaled_grouped_mm", "scaled_mm"]


# One scale or, for recipes of two levels, a list; likewise recipes and swizzles (an enumeration's value).
_Scales = torch.Tensor | float | Sequence[torch.Tensor | float]
_Codes = Any
# What is taken as octavo.scaled_mm takes it; scales and recipes have rules of their own.
_OPERANDS = dict(mat_a="plain", mat_b="plain", bias="?floats", output_dtype="?dtype", use_fast_accum="flag")


@taking(**_OPERANDS)
def scaled_mm(mat_a: torch.Tensor, mat_b: torch.Tensor, scale_a: _Scales, scale_recipe_a: _Codes,
              scale_b: _Scales, scale_recipe_b: _Codes, swizzle_a: _Codes = None,
              swizzle_b: _Codes = None, bias: torch.Tensor | None = None,
              output_dtype: torch.dtype | None = torch.bfloat16,
              contraction_dim: Sequence[int] = (), use_fast_accum: bool = False) -> torch.Tensor:
    """torch.nn.functional.scaled_mm: mat_a [M, K], mat_b [K, N], scales by explicit recipe.

    Example:
        >>> import torch, octavo.torch
        >>> from torch.nn.functional import ScalingType
        >>> a, scale = torch.ones(2, 32).to(torch.float8_e4m3fn), torch.full((2, 1), 0.5)
        >>> octavo.torch.functional.scaled_mm(a, a.t(), scale, ScalingType.RowWise, scale.t(), ScalingType.RowWise).tolist()
        [[8.0, 8.0], [8.0, 8.0]]
    """
    check_contraction("scaled_mm", contraction_dim)
    _check_scales("scaled_mm", scale_a, scale_b)
    return _recipe_scaled_mm(mat_a, mat_b, *_scales(scale_a, scale_recipe_a),
                             *_scales(scale_b, scale_recipe_b), _codes(swizzle_a), _codes(swizzle_b), bias,
                             None, as_dtype(output_dtype, "scaled_mm", "output_dtype"))


@taking(**_OPERANDS, offs="?indices")
def scaled_grouped_mm(mat_a: torch.Tensor, mat_b: torch.Tensor, scale_a: _Scales,
                      scale_recipe_a: _Codes, scale_b: _Scales, scale_recipe_b: _Codes,
                      swizzle_a: _Codes = None, swizzle_b: _Codes = None,
                      bias: torch.Tensor | None = None, offs: torch.Tensor | None = None,
                      output_dtype: torch.dtype | None = torch.bfloat16,
                      contraction_dim: Sequence[int] = (),
                      use_fast_accum: bool = False) -> torch.Tensor:
    """torch.nn.functional.scaled_grouped_mm: the four tensor forms, scales by explicit recipe.

    offs: int32 or int64 cumulative ends [G]. Rows past the last one are zero.

    Example:
        >>> import torch, octavo.torch
        >>> from torch.nn.functional import ScalingType
        >>> a, b = torch.ones(3, 32).to(torch.float8_e4m3fn), torch.ones(2, 8, 32).to(torch.float8_e4m3fn).transpose(1, 2)
        >>> scales = torch.ones(3), ScalingType.RowWise, torch.ones(2, 8), ScalingType.RowWise
        >>> octavo.torch.functional.scaled_grouped_mm(a, b, *scales, offs=torch.tensor([1, 3], dtype=torch.int32)).shape
        torch.Size([3, 8])
    """
    check_contraction("scaled_grouped_mm", contraction_dim)
    _check_scales("scaled_grouped_mm", scale_a, scale_b)
    return _recipe_scaled_grouped_mm(mat_a, mat_b, *_scales(scale_a, scale_recipe_a),
                                     *_scales(scale_b, scale_recipe_b), _codes(swizzle_a),
                                     _codes(swizzle_b), bias, offs, as_dtype(output_dtype, "scaled_grouped_mm", "output_dtype"))


@taking(input="plain", mat2="plain", scale_a="floats", scale_b="floats", bias="?floats", scale_result="?floats",
        out_dtype="?dtype", use_fast_accum="flag")
def _scaled_mm(input: torch.Tensor, mat2: torch.Tensor, scale_a: torch.Tensor, scale_b: torch.Tensor,
               bias: torch.Tensor | None = None, scale_result: torch.Tensor | None = None,
               out_dtype: torch.dtype | None = None, use_fast_accum: bool = False) -> torch.Tensor:
    """torch._scaled_mm: input [M, K], mat2 [K, N], and scales whose shapes say what they cover.

    Args:
        scale_a: one element, [M, 1], [M, ceil(K/128)] or [ceil(M/128), ceil(K/128)], float32; or e8m0 scales
            of groups of 32 in SWIZZLE_32_4_4's order.
        scale_b: one element, [1, N], [ceil(K/128), N] or [ceil(K/128), ceil(N/128)]; or e8m0 ones.
        bias: [N], any float type.
        scale_result: one element, which multiplies results of every type.
        out_dtype: input's type by default, as torch.
        use_fast_accum: no effect on a CPU.

    Returns:
        [M, N]. Every pair of such scales goes.

    Raises:
        ValueError: an argument breaks a rule; the sentence names both.

    Example:
        >>> import torch, octavo.torch
        >>> a, one = torch.ones(2, 32).to(torch.float8_e4m3fn), torch.tensor(1.0)
        >>> octavo.torch.functional._scaled_mm(a, a.t(), one, one, out_dtype=torch.bfloat16).tolist()
        [[32.0, 32.0], [32.0, 32.0]]
    """
    names = "_scaled_mm: input and mat2 must be matrices [M, K] and [K, N]; got {} and {}"
    if input.dim() != 2 or mat2.dim() != 2 or input.shape[1] != mat2.shape[0]:
        raise ValueError(names.format(list(input.shape), list(mat2.shape)))
    (m, k), n = input.shape, mat2.shape[1]
    a, granularity_a = v1_scale("scale_a", scale_a, m, k, False)
    b, granularity_b = v1_scale("scale_b", scale_b, n, k, True)
    return _routes.scaled_mm(input, mat2, a, b, bias, scale_result, as_dtype(out_dtype, "_scaled_mm") or input.dtype,
                             granularity_a=granularity_a, granularity_b=granularity_b)


_E8M0 = torch.float8_e8m0fnu

# torch._scaled_mm's shapes [outer, K] of a scale, by what one of them covers; those of B are [K, outer].
_V1_SHAPES = {"token": (1, 0), "group128": (1, 128), "block128x128": (128, 128)}


def v1_scale(name, scale, outer, k, transposed):
    """A scale for octavo.scaled_mm, and its granularity; None where it broadcasts."""
    if scale.dtype is _E8M0:
        return _natural_mx(name, scale, outer, k, transposed)
    given, shapes = scale.shape, {}
    if not given or given == ((1, outer) if transposed else (outer, 1)):
        return scale, None
    if scale.numel() == 1:
        return scale.reshape(1, 1), None
    for granularity, (rows, columns) in _V1_SHAPES.items():
        shape = -(-outer // rows), -(-k // columns) if columns else 1
        shapes[granularity] = shape[::-1] if transposed else shape
        if given == shapes[granularity]:
            return scale, granularity
    known = ", ".join(str(list(shape)) for shape in shapes.values())
    raise ValueError(f"_scaled_mm: {name}.shape must be one element or one of {known}; got {list(given)}")


def _natural_mx(name, scale, outer, k, transposed):
    """Scales of groups of 32 out of tiles of 128 x 4 that are stored as 32 x 4 x 4."""
    down, across = -(-outer // 128), -(-k // 128)
    if scale.numel() != down * across * 512 or not scale.is_contiguous():
        raise ValueError(f"_scaled_mm: {name} must have {down * across * 512} contiguous elements (SWIZZLE_32_4_4: whole "
                         f"128 x 4 tiles); got {list(scale.shape)}")
    tiles = scale.reshape(down, across, 32, 4, 4).permute(0, 3, 2, 1, 4).reshape(down * 128, across * 4)
    natural = tiles[:outer, :-(-k // 32)]
    return natural.t() if transposed else natural, "group32"


@taking(mat_a="plain", mat_b="plain", offs="?indices", bias="?floats", out_dtype="?dtype")
def grouped_mm(mat_a: torch.Tensor, mat_b: torch.Tensor, *, offs: torch.Tensor | None = None,
               bias: torch.Tensor | None = None, out_dtype: torch.dtype | None = None) -> torch.Tensor:
    """torch.nn.functional.grouped_mm: the four tensor forms.

    Example:
        >>> import torch, octavo.torch
        >>> x, w = torch.ones(3, 16, dtype=torch.bfloat16), torch.ones(2, 16, 8, dtype=torch.bfloat16)
        >>> octavo.torch.functional.grouped_mm(x, w, offs=torch.tensor([1, 3], dtype=torch.int32)).shape
        torch.Size([3, 8])
    """
    return _routes.grouped_mm(mat_a, mat_b, offs, bias=bias, out_dtype=out_dtype)


def _scales(scales, recipes):
    """Lists of scale tensors and of recipe values; a scale may be a number."""
    scales = scales if isinstance(scales, (list, tuple)) else [scales]
    return as_tensors(scales), _codes(recipes)


def _check_scales(operation, *scales):
    """Scales under a recipe have no gradient: some recipes lay them out in other orders."""
    check_no_gradient(operation, "scales under a recipe", *(s for one in scales for s in
                                                            (one if isinstance(one, (list, tuple)) else (one,))))


def _codes(values):
    if values is None:
        return []
    values = values if isinstance(values, (list, tuple)) else [values]
    return [int(getattr(value, "value", value)) for value in values]


def check_contraction(operation, contraction_dim):
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


_recipe_scaled_mm = _define("functional_scaled_mm", _octavo.functional_scaled_mm,
                            _octavo.functional_scaled_mm_vjp)
_recipe_scaled_grouped_mm = _define("functional_scaled_grouped_mm", _octavo.functional_scaled_grouped_mm,
                                    _octavo.functional_scaled_grouped_mm_vjp)
