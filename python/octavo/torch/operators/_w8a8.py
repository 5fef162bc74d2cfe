# SPDX-License-Identifier: Apache-2.0
"""The product behind octavo.w8a8_utils: what shapes of scales mean, and vLLM's one operator."""

import math
from functools import partial

import torch

from ... import _octavo
from ..._again import REFUSED, again
from ..._octavo import PackedWeight
from . import _routes
from ._dtypes import FLOAT8
from ._library import WIDE, define, differentiate


KINDS = {"qinput": "torch_tensor", "weight": "any", "out_dtype": "torch_dtype", "scale_a": "?torch_tensor", "scale_b": "?torch_tensor",
         "bias": "?torch_tensor", "input_2d": "?torch_tensor", "output_shape": "any", "group_size": "any"}


def product(operation, qinput, weight, out_dtype, scale_a, scale_b, bias, input_2d, output_shape, group_size):
    """What every backend function of w8a8_utils does; arguments by their kinds."""
    try:
        return _product(operation, qinput, weight, out_dtype, scale_a, scale_b, bias, input_2d, output_shape, group_size)
    except REFUSED as error:
        return again(error, partial(_product, operation), KINDS, locals(), operation)


def _product(operation, qinput, weight, out_dtype, scale_a, scale_b, bias, input_2d, output_shape, group_size):
    _check_codes(operation, "qinput", qinput)
    rows = _rows_of(operation, qinput, input_2d, output_shape)
    if rows > qinput.shape[0]:
        raise ValueError(f"{operation}: qinput.shape[0] must be at least the {rows} rows asked for; got "
                         f"{qinput.shape[0]}")
    scale_a, granularity_a = _activation_scale(operation, scale_a, qinput, rows, group_size)
    packed = type(weight) is PackedWeight
    scale_b, granularity_b = _weight_scale(operation, scale_b, weight)
    k = weight.k if packed else weight.shape[0]
    if k != qinput.shape[1]:
        raise ValueError(f"{operation}: weight must be [K, N] with K = {qinput.shape[1]} (a stored weight [N, K] "
                         f"transposed); got K = {k}")
    if rows != qinput.shape[0]:
        qinput = qinput[:rows]
    if packed:
        carried = {} if scale_b is None else {"scale_b": scale_b, "granularity_b": granularity_b}
        y = _routes.scaled_mm(qinput, weight, scale_a, bias=bias, out_dtype=out_dtype,
                              granularity_a=granularity_a, **carried)
    else:
        y = _routes.scaled_mm(qinput, weight, scale_a, scale_b, bias, None, out_dtype,
                              granularity_a=granularity_a, granularity_b=granularity_b)
    if output_shape is None:
        return y
    try:
        return y.reshape(output_shape)
    except RuntimeError:
        raise ValueError(f"{operation}: output_shape must hold {y.numel()} elements, {list(y.shape)}; got "
                         f"{list(output_shape)}") from None


def _check_codes(operation, name, codes):
    if codes.dim() != 2 or codes.dtype not in (torch.int8, *FLOAT8):
        raise ValueError(f"{operation}: {name} must be 2-D of int8 or a float8 type; got {codes.dtype} {list(codes.shape)}")


def _rows_of(operation, qinput, input_2d, output_shape):
    """M: codes may have more rows, which are padding."""
    if input_2d is not None:
        if input_2d.dim() != 2:
            raise ValueError(f"{operation}: input_2d.shape must be 2-D; got {list(input_2d.shape)}")
        return input_2d.shape[0]
    leading = qinput.shape[:1] if output_shape is None else output_shape[:-1]
    return qinput.shape[0] if -1 in leading else math.prod(leading)


def _activation_scale(operation, scale, qinput, rows, group_size):
    if scale is None:
        raise ValueError(f"{operation}: scale_a must be given; got none")
    if group_size is not None and group_size < 0:  # 0 is none
        raise ValueError(f"{operation}: group_size must be at least 0; got {group_size}")
    if scale.dim() == 0 or scale.shape == (1,):
        return scale, "tensor"
    size = group_size or 128
    groups = -(-qinput.shape[1] // size)
    for count in (qinput.shape[0], rows):
        grouped = scale.shape == (count, groups)
        token = _is_vector(scale, count) and not (grouped and group_size)
        if token or grouped:
            if count != rows:
                scale = scale[:rows]
            return scale, "token" if token else f"group{size}"
    if scale.numel() == 1:
        return scale, "tensor"
    raise ValueError(f"{operation}: scale_a.shape must be one element, [{rows}], [{rows}, 1] or, for groups of "
                     f"{size}, [{rows}, {groups}]; got {list(scale.shape)}")


def _weight_scale(operation, scale, weight):
    if type(weight) is PackedWeight:
        if scale is None:
            return None, None
        k, n = weight.k, weight.n
    else:
        _check_codes(operation, "weight", weight)
        k, n = weight.shape
    if scale is None:
        raise ValueError(f"{operation}: scale_b must be given; got none")
    if scale.numel() == 1:
        return scale, "tensor"
    if _is_vector(scale, n):
        return scale, "channel"
    blocks = (-(-n // 128), -(-k // 128))
    if scale.shape == blocks:
        return scale.t(), "block128x128"
    if scale.shape == (1, n):
        return scale, "channel"
    raise ValueError(f"{operation}: scale_b.shape must be one element, [{n}], [{n}, 1], [1, {n}] or, for blocks of "
                     f"128 x 128, {list(blocks)}; got {list(scale.shape)}")


def azp_product(a, b, scale_a, scale_b, out_dtype, azp_adj, azp, bias):
    """vLLM's cutlass_scaled_mm_azp: section 3 with the column sums that the caller has made."""
    name = "cutlass_scaled_mm_azp"
    if a.dtype is not torch.int8 or b.dtype is not torch.int8 or a.dim() != 2 or b.dim() != 2 or a.shape[1] != b.shape[0]:
        raise ValueError(f"{name}: a and b must be int8 [M, K] and [K, N]; got {a.dtype} {list(a.shape)} and {b.dtype} "
                         f"{list(b.shape)}")
    (m, k), n = a.shape, b.shape[1]
    if k > _EXACT_K:
        raise ValueError(f"{name}: a.shape[1] must be at most {_EXACT_K} (int32 sums; octavo.scaled_mm has no limit); got {k}")
    if azp_adj.dtype is not torch.int32 or azp_adj.numel() != n:
        raise ValueError(f"{name}: azp_adj must be int32 [{n}]; got {azp_adj.dtype} {list(azp_adj.shape)}")
    if azp is not None and (azp.dtype is not torch.int32 or azp.numel() not in (1, m)):
        raise ValueError(f"{name}: azp must be int32, one element or [{m}]; got {azp.dtype} {list(azp.shape)}")
    scale_a, _ = _activation_scale(name, scale_a, a, m, None)
    scale_b, granularity_b = _weight_scale(name, scale_b, b)
    if granularity_b not in ("tensor", "channel"):
        raise ValueError(f"{name}: scale_b.shape must be one element, [{n}], [{n}, 1] or [1, {n}]; got {list(scale_b.shape)}")
    if bias is not None and (bias.numel() != n or bias.device != a.device or bias.dtype not in (*WIDE, *FLOAT8)):
        raise ValueError(f"cutlass_scaled_mm_azp: bias must be [{n}] of a float type on {a.device}; got {bias.dtype} "
                         f"{list(bias.shape)} on {bias.device}")
    shift = azp_adj.reshape(1, n).long() * (1 if azp is None else azp.reshape(-1, 1).long())
    sums = _routes.scaled_mm(a, b, out_dtype=torch.int32)
    y = (sums.long() - shift).float() * scale_a.reshape(-1, 1) * scale_b.reshape(1, -1)
    return (y if bias is None else y + bias.float()).to(out_dtype)


_EXACT_K = 2**31 // 128**2 - 1


def _is_vector(scale, length):
    return scale.shape == (length,) or scale.shape == (length, 1)


# ---- torch.ops.octavo.rocm_per_tensor_w8a8_scaled_mm_impl ---------------------------------------------


def fake(qinput, weight, out_dtype, scale_a, scale_b, bias, input_2d):
    return qinput.new_empty((*qinput.shape[:-1], weight.shape[1]), dtype=out_dtype)


def _impl(qinput, weight, out_dtype, scale_a, scale_b, bias, input_2d):
    return product("rocm_per_tensor_w8a8_scaled_mm_impl", qinput, weight, out_dtype, scale_a, scale_b, bias,
                    None, None, None)


def _impl_vjp(grad, wanted, options, qinput, weight, out_dtype, scale_a, scale_b, bias, input_2d):
    name = "rocm_per_tensor_w8a8_scaled_mm_impl"
    scale_a, granularity_a = _activation_scale(name, scale_a, qinput, qinput.shape[0], None)
    scale_b, granularity_b = _weight_scale(name, scale_b, weight)
    found = _octavo.scaled_mm_vjp(grad, [False, False, *wanted, *[False] * 4], options, qinput, weight, scale_a,
                                  scale_b, bias, None, out_dtype, granularity_a, granularity_b)
    if wanted[2] and granularity_b == "block128x128":
        found[-1] = found[-1].t()  # as it was given
    return found


_IMPL_ARGUMENTS = ("Tensor qinput, Tensor weight, ScalarType out_dtype, Tensor scale_a, Tensor scale_b, "
                   "Tensor? bias, Tensor input_2d")
impl = define(f"rocm_per_tensor_w8a8_scaled_mm_impl({_IMPL_ARGUMENTS}) -> Tensor", _impl,
                        fake)
differentiate(impl, _IMPL_ARGUMENTS, _impl_vjp, (5, 3, 4), ())
