# SPDX-License-Identifier: Apache-2.0
"""PyTorch's own products, computed by Octavo: a function for each operator of aten, with the operator's arguments.

They raise ValueError or NotImplementedError for what is PyTorch's to do; nothing has been written then.
"""

import torch

from ... import _octavo
from ..functional import check_contraction, v1_scale
from ..operators._library import WIDE

# The operators, by their names in torch.ops.aten.
NAMES = ("_int_mm", "_scaled_mm", "_scaled_mm_v2", "_grouped_mm", "_scaled_grouped_mm", "_scaled_grouped_mm_v2")

# torch.nn.functional.ScalingType and SwizzleType, by their values.
_ROW_WISE, _BLOCK_WISE_1X32 = 1, 3
_SWIZZLE_32_4_4 = 1


def int_mm(self, mat2, *, out=None):
    if self.dtype not in (torch.int8, torch.uint8) or mat2.dtype is not torch.int8:
        raise ValueError("_int_mm: self.dtype must be int8 or uint8 and mat2.dtype int8; got "
                         f"{self.dtype} and {mat2.dtype}")
    return _octavo.scaled_mm(self, mat2, out_dtype=torch.int32, out=out)


def scaled_mm(self, mat2, scale_a, scale_b, bias=None, scale_result=None, out_dtype=None, use_fast_accum=False, *,
              out=None):
    left, right = self.shape, mat2.shape
    if len(left) != 2 or len(right) != 2:
        raise ValueError(f"_scaled_mm: self and mat2 must be 2-D; got {len(left)}-D and {len(right)}-D")
    if bias is not None:
        _check_bias("_scaled_mm", bias, mat2)
    (m, k), n = left, right[1]
    scale_a, granularity_a = v1_scale("scale_a", scale_a, m, k, False)
    scale_b, granularity_b = v1_scale("scale_b", scale_b, n, k, True)
    return _octavo.scaled_mm(self, mat2, scale_a, scale_b, bias, scale_result, out_dtype or self.dtype, granularity_a,
                             granularity_b, out=out)


def scaled_mm_v2(self, mat2, scale_a, recipe_a, swizzle_a, scale_b, recipe_b, swizzle_b, bias, out_dtype,
                 contraction_dim=(), use_fast_accum=False, *, out=None):
    check_contraction("_scaled_mm_v2", contraction_dim)
    _check_bias("_scaled_mm_v2", bias, mat2)
    return _octavo.functional_scaled_mm(self, mat2, scale_a, recipe_a, scale_b, recipe_b, swizzle_a, swizzle_b, bias,
                                        None, out_dtype or self.dtype, out=out)


def grouped_mm(self, mat2, offs=None, bias=None, out_dtype=None):
    if self.dtype not in WIDE:
        raise ValueError(f"_grouped_mm: self.dtype must be bfloat16, float16 or float32; got {self.dtype}")
    dtype = out_dtype or self.dtype
    return _octavo.grouped_mm(self, mat2, offs, bias=bias, out_dtype=dtype,
                              out=_grouped_out("_grouped_mm", self, mat2, offs, dtype))


def scaled_grouped_mm(self, mat2, scale_a, scale_b, offs=None, bias=None, scale_result=None, out_dtype=None,
                      use_fast_accum=False):
    if scale_result is not None:
        raise NotImplementedError("_scaled_grouped_mm: scale_result must be left out; got a tensor")
    mx = scale_a.dtype is torch.float8_e8m0fnu
    recipe, swizzle = ([_BLOCK_WISE_1X32], [_SWIZZLE_32_4_4]) if mx else ([_ROW_WISE], [])
    return scaled_grouped_mm_v2(self, mat2, [scale_a], recipe, swizzle, [scale_b], recipe, swizzle, offs, bias, out_dtype)


def scaled_grouped_mm_v2(self, mat2, scale_a, recipe_a, swizzle_a, scale_b, recipe_b, swizzle_b, offs=None, bias=None,
                         out_dtype=None, contraction_dim=(), use_fast_accum=False):
    check_contraction("_scaled_grouped_mm_v2", contraction_dim)
    dtype = out_dtype or torch.bfloat16
    return _octavo.functional_scaled_grouped_mm(
        self, mat2, scale_a, recipe_a, scale_b, recipe_b, swizzle_a, swizzle_b, bias, offs, dtype,
        out=_grouped_out("_scaled_grouped_mm_v2", self, mat2, offs, dtype))


def scaled_grouped_mm_v2_shape(self, mat2, scale_a, recipe_a, swizzle_a, scale_b, recipe_b, swizzle_b, offs=None,
                               bias=None, out_dtype=None, contraction_dim=(), use_fast_accum=False):
    """The kernel of shapes that PyTorch has for every other operator here."""
    torch._check(self.dim() in (2, 3) and mat2.dim() in (2, 3), lambda: "self and mat2 must be 2-D or 3-D")
    torch._check(self.shape[-1] == mat2.shape[-2], lambda: "contraction dimension of self and mat2 must match")
    shape = _grouped_shape(self, mat2, offs)
    return self.new_empty_strided(shape, _grouped_strides(shape, out_dtype or torch.bfloat16),
                                  dtype=out_dtype or torch.bfloat16)


def _check_bias(operation, bias, mat2):
    """Octavo takes biases of more shapes than PyTorch: they would mean other sums."""
    if bias is not None and bias.shape != mat2.shape[-1:]:
        raise ValueError(f"{operation}: bias.shape must be {list(mat2.shape[-1:])}; got {list(bias.shape)}")


def _grouped_shape(self, mat2, offs):
    shape = (self.shape[-2], mat2.shape[-1])
    if self.dim() == mat2.dim():
        return (offs.shape[0] if self.dim() == 2 else self.shape[0], *shape)
    return shape


def _grouped_strides(shape, dtype):
    """PyTorch's: rows begin at multiples of 16 bytes, which its compiler counts on."""
    unit = 16 // dtype.itemsize
    row = -(-shape[-1] // unit) * unit
    return (shape[-2] * row, row, 1)[-len(shape):]


def _grouped_out(operation, self, mat2, offs, dtype):
    """Where a grouped result goes; None: wherever Octavo puts it."""
    if self.dim() not in (2, 3) or mat2.dim() not in (2, 3):
        raise ValueError(f"{operation}: self and mat2 must be 2-D or 3-D; got {self.dim()}-D and {mat2.dim()}-D")
    if mat2.shape[-1] % (16 // dtype.itemsize) == 0:
        return None
    if self.dim() == mat2.dim() == 2 and (offs is None or offs.dim() != 1):
        raise ValueError(f"{operation}: offs must be 1-D where self and mat2 are 2-D; got {offs}")
    shape = _grouped_shape(self, mat2, offs)
    return torch.empty_strided(shape, _grouped_strides(shape, dtype), dtype=dtype, device="cpu")
