# SPDX-License-Identifier: Apache-2.0
"""LLM.int8() as operators: torch.ops.octavo.int8_*, with the schemas of bitsandbytes' operators, and the
linear layer over int8 rows with its gradient.

Source: specification section 8.
"""

import math

import torch

from ... import _octavo
from ._library import define, differentiate, rows_like


def _columns(like):
    """Outlier columns, whose number is not known before the data is."""
    return like.new_empty(torch.library.get_ctx().new_dynamic_size(), dtype=torch.int64)


def _rows(a):
    return a.numel() // a.shape[-1]


def _vectorwise_quant_fake(A, threshold=0.0):
    stats = A.new_empty(_rows(A), dtype=torch.float32)
    return A.new_empty(A.shape, dtype=torch.int8), stats, _columns(A) if threshold > 0.0 else None


def _double_quant_fake(A, threshold=0.0):
    codes, stats, columns = _vectorwise_quant_fake(A, threshold)
    return codes, codes.new_empty(codes.shape), stats, A.new_empty(A.shape[-1], dtype=torch.float32), columns


def _linear_matmul_fake(A, B):
    return A.new_empty((*A.shape[:-1], B.shape[0]), dtype=torch.int32)


def _linear_matmul_out(A, B, out):
    _octavo.int8_linear_matmul(A, B, out)


def _mm_dequant(A, row_stats, col_stats, dtype=None, bias=None):
    return _octavo.int8_mm_dequant(A, row_stats, col_stats, bias, dtype or torch.float16)


def _mm_dequant_fake(A, row_stats, col_stats, dtype=None, bias=None):
    return A.new_empty(A.shape, dtype=dtype or torch.float16)


def _scaled_mm(A, B, row_stats, col_stats, bias=None, dtype=None):
    return _octavo.int8_scaled_mm(A, B, row_stats, col_stats, bias, dtype or torch.float16)


def _scaled_mm_fake(A, B, row_stats, col_stats, bias=None, dtype=None):
    return A.new_empty((*A.shape[:-1], B.shape[0]), dtype=dtype or torch.float16)


def _mixed_scaled_mm(A, CA, CB, SCA, SCB, outlier_cols=None, bias=None):
    out = _octavo.int8_mixed_scaled_mm(A, CA, CB, SCA, SCB, outlier_cols, bias)
    if outlier_cols is None or outlier_cols.numel() == 0:
        return out, A.new_empty(0)
    return out, A.detach().reshape(-1, A.shape[-1])[:, outlier_cols]


def _mixed_scaled_mm_fake(A, CA, CB, SCA, SCB, outlier_cols=None, bias=None):
    out = A.new_empty((*CA.shape[:-1], CB.shape[0]))
    return out, A.new_empty((_rows(A), torch.library.get_ctx().new_dynamic_size()))


def _vectorwise_dequant_fake(A, stats):
    return A.new_empty(A.shape, dtype=torch.float32)


vectorwise_quant = define("int8_vectorwise_quant(Tensor A, float threshold=0.0) -> (Tensor, Tensor, Tensor?)",
                          _octavo.int8_vectorwise_quant, _vectorwise_quant_fake)
double_quant = define("int8_double_quant(Tensor A, float threshold=0.0) -> "
                      "(Tensor, Tensor, Tensor, Tensor, Tensor?)",
                      _octavo.int8_double_quant, _double_quant_fake)
linear_matmul = define("int8_linear_matmul(Tensor A, Tensor B) -> Tensor", _octavo.int8_linear_matmul,
                       _linear_matmul_fake)
linear_matmul_out = define("int8_linear_matmul.out(Tensor A, Tensor B, Tensor(a!) out) -> ()",
                           _linear_matmul_out, lambda A, B, out: None)
mm_dequant = define("int8_mm_dequant(Tensor A, Tensor row_stats, Tensor col_stats, ScalarType? dtype=None, "
                    "Tensor? bias=None) -> Tensor", _mm_dequant, _mm_dequant_fake)
scaled_mm = define("int8_scaled_mm(Tensor A, Tensor B, Tensor row_stats, Tensor col_stats, Tensor? bias=None, "
                   "ScalarType? dtype=None) -> Tensor", _scaled_mm, _scaled_mm_fake)
mixed_scaled_mm = define("int8_mixed_scaled_mm(Tensor A, Tensor CA, Tensor CB, Tensor SCA, Tensor SCB, "
                         "Tensor? outlier_cols=None, Tensor? bias=None) -> (Tensor, Tensor)",
                         _mixed_scaled_mm, _mixed_scaled_mm_fake)
vectorwise_dequant = define("int8_vectorwise_dequant(Tensor A, Tensor stats) -> Tensor",
                            _octavo.int8_vectorwise_dequant, _vectorwise_dequant_fake)


def _as_rows(x):
    """[..., K] as [rows, K], K = 0 included."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def linear_vjp(grad, wanted, x, codes, row_absmax, bias, threshold, outlier_columns, weight_dtype, exact):
    """The wanted gradients of x, the weight [N, K] and bias. exact: the weight's is grad^T x, summed in float32."""
    needs_x, needs_weight, needs_bias = wanted
    quantized = _octavo.int8_linear_vjp(grad, [needs_x, needs_weight and not exact, needs_bias], x, codes, row_absmax,
                                        bias, threshold, outlier_columns=outlier_columns, weight_dtype=weight_dtype)
    if needs_weight and exact:
        rows, columns = _as_rows(grad), _as_rows(x)
        quantized.insert(int(needs_x), _octavo.scaled_mm(rows.t(), columns.to(grad.dtype), out_dtype=weight_dtype))
    return quantized


def _linear(x, weight, codes, row_absmax, bias, threshold, whole_columns, outlier_columns, outlier_weight,
            batch_invariant, exact_gradient):
    return _octavo.int8_linear(x, codes, row_absmax, bias, threshold, whole_columns=whole_columns,
                               outlier_columns=outlier_columns, outlier_weight=outlier_weight,
                               batch_invariant=batch_invariant)


def _linear_fake(x, weight, codes, *rest):
    return x.new_empty((*x.shape[:-1], codes.shape[0]))


def _linear_vjp(grad, wanted, options, x, weight, codes, row_absmax, bias, threshold, whole_columns,
                outlier_columns, outlier_weight, batch_invariant, exact_gradient):
    dtype = None if weight is None else weight.dtype
    return linear_vjp(grad, wanted, x, codes, row_absmax, bias, threshold, outlier_columns, dtype, exact_gradient)


_ARGUMENTS = ("Tensor x, Tensor? weight, Tensor codes, Tensor row_absmax, Tensor? bias, float threshold, "
              "bool whole_columns, Tensor? outlier_columns, Tensor? outlier_weight, bool batch_invariant, "
              "bool exact_gradient")
# weight: the float weight [N, K] that codes and row_absmax were made of, which gets the gradient.
linear = define(f"int8_linear({_ARGUMENTS}) -> Tensor", _linear, _linear_fake)
differentiate(linear, _ARGUMENTS, _linear_vjp, (0, 1, 4), (0, 1), like=rows_like)
