# SPDX-License-Identifier: Apache-2.0
"""The public functions over torch tensors: arguments as users write them to operators' arguments."""

import numpy
import torch
from torch import Tensor

from .. import _octavo
from .._octavo import UNDEFINED, PackedWeight, Quantized
from . import _experts, _grouped, _matmul
from ._linear import handle_of
from ._linear import linear as _linear_operator


def scaled_mm(input, mat2, scale_a, scale_b, bias, scale_result, out_dtype, granularity_a,
              granularity_b, alpha, beta, c, azp, trans_a, trans_b, saturate, torch_compat, subnormals,
              backend, out):
    """octavo.scaled_mm."""
    if out is not None or type(mat2) is PackedWeight:
        _check_no_gradient("scaled_mm", "out" if out is not None else "a packed weight",
                           input, scale_a, scale_b, bias, scale_result, alpha, beta, c)
        return _octavo.scaled_mm(input, mat2, scale_a, scale_b, bias, scale_result, out_dtype,
                                 granularity_a, granularity_b, alpha, beta, c, azp, trans_a,
                                 trans_b, saturate, torch_compat, subnormals, backend, out)
    if type(input) is Quantized:
        input, scale_a, granularity_a, carried = _operand(input, scale_a, granularity_a, "a")
        azp = carried if azp is None else azp
    if type(mat2) is Quantized:
        mat2, scale_b, granularity_b, _ = _operand(mat2, scale_b, granularity_b, "b")
    # Tests in place where most calls answer them: this is the way of small calls.
    return _matmul.scaled_mm(
        input, mat2, scale_a if type(scale_a) is Tensor else _tensor(scale_a),
        scale_b if type(scale_b) is Tensor else _tensor(scale_b), bias,
        None if scale_result is UNDEFINED else _tensor(scale_result),
        None if out_dtype is None else _dtype(out_dtype, "scaled_mm"), granularity_a, granularity_b,
        None if alpha is UNDEFINED else _tensor(alpha), None if beta is UNDEFINED else _tensor(beta),
        c, azp, trans_a, trans_b, saturate, torch_compat, subnormals, backend)


def grouped_mm(input, mat2, offs, bias, out_dtype, *, scale_a, scale_b, granularity_a,
               granularity_b, alpha, beta, c, scale_result, offs_prefix, subnormals, out, backend):
    """octavo.grouped_mm, tensor forms."""
    if out is not None:
        _check_no_gradient("grouped_mm", "out", input, mat2, bias, scale_a, scale_b, alpha, beta, c,
                           scale_result)
        return _octavo.grouped_mm(input, mat2, offs, bias, out_dtype, scale_a=scale_a,
                                  scale_b=scale_b, granularity_a=granularity_a,
                                  granularity_b=granularity_b, alpha=alpha, beta=beta, c=c,
                                  scale_result=scale_result, offs_prefix=offs_prefix,
                                  subnormals=subnormals, out=out, backend=backend)
    input, scale_a, granularity_a, _ = _operand(input, scale_a, granularity_a, "a")
    mat2, scale_b, granularity_b, _ = _operand(mat2, scale_b, granularity_b, "b")
    return _grouped.grouped_mm(input, mat2, offs, bias, scale_a, scale_b, _tensor(alpha),
                               _tensor(beta), c, _tensor(scale_result), _dtype(out_dtype, "grouped_mm"),
                               granularity_a, granularity_b, offs_prefix, subnormals, backend)


def grouped_mm_list(inputs, weights, biases, out_dtype, *, scales_a, scales_b, granularity_a,
                    granularity_b, subnormals, outs, backend):
    """octavo.grouped_mm, list form."""
    plain = all(isinstance(x, torch.Tensor) for x in (*inputs, *weights))
    if outs is not None or not plain:
        _check_no_gradient("grouped_mm", "outs, quantised or packed entries", *inputs, *weights,
                           *(biases or ()))
        return _octavo.grouped_mm_list(inputs, weights, biases, out_dtype, scales_a=scales_a,
                                       scales_b=scales_b, granularity_a=granularity_a,
                                       granularity_b=granularity_b, subnormals=subnormals, outs=outs,
                                       backend=backend)
    lengths = {len(entries) for entries in (weights, biases, scales_a, scales_b) if entries is not None}
    if lengths - {len(inputs)}:  # the extension module has the sentence
        return _octavo.grouped_mm_list(inputs, weights, biases, out_dtype, scales_a=scales_a,
                                       scales_b=scales_b)
    biases, bias_at = _grouped.present(biases)
    scales_a, scale_a_at = _grouped.present(_tensors(scales_a))
    scales_b, scale_b_at = _grouped.present(_tensors(scales_b))
    return _grouped.grouped_mm_list(list(inputs), list(weights), biases, scales_a, scales_b, bias_at,
                                    scale_a_at, scale_b_at, _dtype(out_dtype, "grouped_mm"), granularity_a,
                                    granularity_b, subnormals, backend)


def scaled_grouped_mm(input, weight, scale, out_dtype, *, trans_b, out, backend):
    """octavo.scaled_grouped_mm."""
    if out is not None:
        _check_no_gradient("scaled_grouped_mm", "out", input, weight, scale)
        return _octavo.scaled_grouped_mm(input, weight, scale, out_dtype, trans_b=trans_b, out=out,
                                         backend=backend)
    # 1 skips the multiply, and is bit-equal to no scale.
    scale = None if isinstance(scale, (int, float)) and scale == 1 else _tensor(scale)
    return _grouped.scaled_grouped_mm(input, weight, scale, _dtype(out_dtype, "scaled_grouped_mm"), trans_b, backend)


def linear(x, weight, bias, out_dtype, *, batch_invariant, out, backend):
    """octavo.linear."""
    if out is not None:
        _check_no_gradient("linear", "out", x, bias)
        return _octavo.linear(x, weight, bias, out_dtype, batch_invariant=batch_invariant, out=out,
                              backend=backend)
    return _linear_operator(x, bias, _dtype(out_dtype, "linear"), handle_of(weight), weight.n,
                            batch_invariant, backend)


def fused_experts(x, w13, w2, topk_weights, topk_ids, *, bias13, bias2, apply_router_weight_on_input,
                  expert_map, out_dtype, batch_invariant, out, backend):
    """octavo.fused_experts."""
    if out is not None:
        _experts.refuse_gradient("fused_experts", x, topk_weights, bias13, bias2)
        return _octavo.fused_experts(x, w13, w2, topk_weights, topk_ids, bias13=bias13, bias2=bias2,
                                     apply_router_weight_on_input=apply_router_weight_on_input,
                                     expert_map=expert_map, out_dtype=out_dtype,
                                     batch_invariant=batch_invariant, out=out, backend=backend)
    return _experts.fused_experts(x, topk_weights, topk_ids, bias13, bias2, expert_map, _dtype(out_dtype, "fused_experts"),
                                  handle_of(w13), handle_of(w2), w2.n, apply_router_weight_on_input,
                                  batch_invariant, backend)


def silu_and_mul(x, out_dtype, *, out, backend):
    """octavo.silu_and_mul."""
    _experts.refuse_gradient("silu_and_mul", x)
    return _octavo.silu_and_mul(x, out_dtype, out=out, backend=backend)


def _tensor(value):
    """A scale or factor as an operator's argument: a tensor or None. Numbers, NumPy's too, and lists are float32."""
    if value is UNDEFINED or value is None:
        return None
    if isinstance(value, Tensor):
        return value
    if isinstance(value, (float, int)):
        return torch.full((), value, dtype=torch.float32)
    if isinstance(value, (list, tuple)):
        return torch.tensor(value, dtype=torch.float32)
    array = numpy.asarray(value)
    if array.ndim == 0 and array.dtype.kind in "fiub":
        return torch.full((), float(array), dtype=torch.float32)
    if array.dtype.kind == "V":  # of ml_dtypes, which torch does not read; widening is exact
        array = array.astype(numpy.float32)
    if array.dtype.kind not in "fiu":
        raise ValueError("octavo: a scale or factor must be a number, a list of numbers or a tensor; got "
                         f"{type(value).__name__}")
    return torch.from_numpy(array)


def _tensors(values):
    return None if values is None else [_tensor(value) for value in values]


def _dtype(value, operation, argument="out_dtype"):
    """A torch.dtype, or what names one as octavo.scaled_mm's out_dtype does."""
    if value is None or isinstance(value, torch.dtype):
        return value
    found = getattr(torch, value, None) if isinstance(value, str) else None  # which torch.compile traces
    if isinstance(found, torch.dtype):
        return found
    return getattr(torch, _octavo.dtype_name(value, operation, argument))


def _operand(value, scale, granularity, side):
    """(data, scale, granularity, zero points) of a tensor or an octavo.Quantized."""
    if type(value) is not Quantized:
        return value, _tensor(scale), granularity, None
    if scale is UNDEFINED:
        scale = value.scale
        granularity = _granularity(value.rows, value.cols, side)
    return value.data, _tensor(scale), granularity, value.azp


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


def _check_no_gradient(operation, argument, *values):
    if not torch.is_grad_enabled():
        return
    for value in values:
        if isinstance(value, torch.Tensor) and value.requires_grad:
            raise NotImplementedError(
                f"{operation}: {argument} must come without arguments that need a gradient; got one "
                "(leave it out, or call under torch.no_grad())")
