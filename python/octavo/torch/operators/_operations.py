# SPDX-License-Identifier: Apache-2.0
"""The public functions over torch tensors: the products' are written (_routes.py), these are not."""

import torch

from ... import _octavo
from . import _attention, _experts, _grouped_list, _norms, _rotate
from ._arguments import as_dtype, as_tensors, check_no_gradient
from ._linear import call_linear, handle_of
from ._routes import grouped_mm, scaled_grouped_mm, scaled_mm  # noqa: F401


def grouped_mm_list(inputs, weights, biases, out_dtype, scales_a, scales_b, granularity_a, granularity_b, outs,
                    subnormals, backend):
    """octavo.grouped_mm, list form."""
    plain = all(isinstance(x, torch.Tensor) for x in (*inputs, *weights, *(b for b in biases or () if b is not None)))
    if outs is not None or not plain:
        check_no_gradient("grouped_mm", "outs, quantised, packed or NumPy's entries", *inputs, *weights,
                          *(biases or ()))
        return _octavo.grouped_mm_list(inputs, weights, biases, out_dtype, scales_a, scales_b, granularity_a,
                                       granularity_b, outs, subnormals, backend)
    lengths = {len(entries) for entries in (weights, biases, scales_a, scales_b) if entries is not None}
    if lengths - {len(inputs)}:  # the extension module has the sentence
        return _octavo.grouped_mm_list(inputs, weights, biases, out_dtype, scales_a, scales_b)
    biases, bias_at = _grouped_list.present(biases)
    scales_a, scale_a_at = _grouped_list.present(as_tensors(scales_a))
    scales_b, scale_b_at = _grouped_list.present(as_tensors(scales_b))
    return _grouped_list.grouped_mm_list(list(inputs), list(weights), biases, scales_a, scales_b, bias_at,
                                         scale_a_at, scale_b_at, as_dtype(out_dtype, "grouped_mm"), granularity_a,
                                         granularity_b, subnormals, backend)


def linear(x, weight, bias, out_dtype, batch_invariant, backend, outlier_columns, outlier_weight, out):
    """octavo.linear."""
    for name, value in (("out", out), ("outlier_columns", outlier_columns), ("outlier_weight", outlier_weight)):
        if value is not None:
            check_no_gradient("linear", name, x, bias)
            return _octavo.linear(x, weight, bias, out_dtype, batch_invariant, backend, outlier_columns,
                                  outlier_weight, out)
    return call_linear(x, bias, as_dtype(out_dtype, "linear"), handle_of(weight), batch_invariant,
                       backend)


def fused_experts(x, w13, w2, topk_weights, topk_ids, bias13, bias2, on_input, expert_map, out_dtype,
                  batch_invariant, backend, out):
    """octavo.moe.fused_experts."""
    if out is not None:
        check_no_gradient("fused_experts", "out", x, topk_weights, bias13, bias2)
        return _octavo.fused_experts(x, w13, w2, topk_weights, topk_ids, bias13, bias2, on_input, expert_map,
                                     out_dtype, batch_invariant, backend, out)
    return _experts.call_fused_experts(x, topk_weights, topk_ids, bias13, bias2, expert_map,
                                       as_dtype(out_dtype, "fused_experts"), handle_of(w13), handle_of(w2),
                                       on_input, batch_invariant, backend)


def silu_and_mul(x, out_dtype, backend, out):
    """octavo.moe.silu_and_mul."""
    if out is not None:
        check_no_gradient("silu_and_mul", "out", x)
        return _octavo.silu_and_mul(x, out_dtype, backend, out)
    return _experts.call_silu_and_mul(x, as_dtype(out_dtype, "silu_and_mul"), backend)


def rms_norm(x, weight, epsilon, backend, residual, out):
    """octavo.norms.rms_norm."""
    check_no_gradient("rms_norm", "tensors", x, weight, residual)
    if out is not None:
        return _octavo.rms_norm(x, weight, epsilon, backend, residual, out)
    if residual is not None:
        return _norms.call_add_rms_norm(x, residual, weight, epsilon, backend)
    return _norms.call_rms_norm(x, weight, epsilon, backend)


def rotate(x, block, out_dtype, backend, out):
    """octavo.quantizers.rotate."""
    if out is not None:
        check_no_gradient("rotate", "out", x)
        return _octavo.rotate(x, block, out_dtype, backend, out)
    return _rotate.call_rotate(x, block, as_dtype(out_dtype, "rotate"), backend)


def attention(q, keys, key_scales, values, value_scales, block_table, lengths, starts, scale, window, bidirectional,
              backend, out):
    """octavo.attention.attention."""
    check_no_gradient("attention", "tensors", q, key_scales, value_scales)
    if out is not None:
        return _octavo.attention(q, keys, key_scales, values, value_scales, block_table, lengths, starts, scale, window,
                                 bidirectional, backend, out)
    return _attention.call_attention(q, keys, key_scales, values, value_scales, block_table, lengths, starts, scale,
                                     window, bidirectional, backend)
