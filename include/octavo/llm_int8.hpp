// SPDX-License-Identifier: Apache-2.0
// LLM.int8(): vector-wise int8 products with float outlier columns, forward.
//
// Source: Dettmers et al., "LLM.int8()", arXiv 2208.07339; specification section 8. Statistics are
// raw float32 absolute maxima, not scales: value = code * (statistic / 127).
#pragma once

#include "octavo/context.hpp"
#include "octavo/quantize.hpp"
#include "octavo/tensor.hpp"

namespace octavo {

/// Codes by row, and what was left out of them.
struct VectorwiseQuant {
  Tensor codes;         ///< int8, shape of the input, 0 in outlier columns
  Tensor row_absmax;    ///< float32 [rows]; outlier elements are left out
  Tensor outlier_cols;  ///< int64, ascending, fixed and found ones; undefined at threshold 0
                        ///< without fixed columns, empty when there are none
};

/// Which elements are outliers, and what becomes of their columns.
struct VectorwiseOptions {
  // api: VectorwiseOptions, of api/operations.toml
  /// |a| >= threshold is an outlier; 0: off
  float threshold = 0.0F;
  /// leave whole outlier columns out of row_absmax
  bool whole_columns = false;
  /// codes are 0 at outlier elements alone, so that no row depends on another; whole_columns has no
  /// effect
  bool by_element = false;
  /// int64, ascending: columns of code 0 whatever they hold, left out of row_absmax
  TensorView outlier_columns{};
  // api: end
};

/// Row-wise int8 codes of A [..., K] (bfloat16, float16 or float32, from its own precision):
/// code = RNE(a * (127 / absmax)); rows with absmax < 2^-121 get code 0. Throws Error.
OCTAVO_API VectorwiseQuant int8_vectorwise_quant(const TensorView& a,
                                                 const VectorwiseOptions& options = {},
                                                 const ExecContext& context = {});

/// The same without outliers of a matrix [R, K], and what codes * (row_absmax / 127) lose of it is
/// added to `errors` in the same reading, as octavo::code_errors says of it. Throws Error.
OCTAVO_API VectorwiseQuant int8_vectorwise_quant(const TensorView& a, CodeErrors& errors,
                                                 const ExecContext& context = {});

/// Codes of one matrix by row and by column.
struct DoubleQuant {
  Tensor row_codes, col_codes;    ///< int8, shape of the input
  Tensor row_absmax, col_absmax;  ///< float32 [rows], [K]
  Tensor outlier_cols;            ///< as in VectorwiseQuant
};

/// Codes by row and by column of one matrix; outlier columns are zeroed in both.
OCTAVO_API DoubleQuant int8_double_quant(const TensorView& a, const VectorwiseOptions& options = {},
                                         const ExecContext& context = {});

/// A [..., K] int8 times W [N, K] int8, transposed: exact int32.
OCTAVO_API Tensor int8_linear_matmul(const TensorView& a, const TensorView& w,
                                     const TensorView& out = {}, const ExecContext& context = {});

/// acc * (row_absmax / 127) * (col_absmax / 127) + bias, in float32, converted once.
OCTAVO_API Tensor int8_mm_dequant(const TensorView& acc, const TensorView& row_absmax,
                                  const TensorView& col_absmax, const TensorView& bias = {},
                                  DType out_dtype = DType::float16,
                                  const ExecContext& context = {});

/// int8_linear_matmul and int8_mm_dequant in one step: A [..., K], W [N, K].
OCTAVO_API Tensor int8_scaled_mm(const TensorView& a, const TensorView& w,
                                 const TensorView& row_absmax, const TensorView& col_absmax,
                                 const TensorView& bias = {}, DType out_dtype = DType::float16,
                                 const ExecContext& context = {});

/// The arguments of int8_mixed_scaled_mm beside its tensors.
struct MixedScaledMmOptions {
  // api: MixedScaledMmOptions, of api/operations.toml
  /// int64, ascending; undefined or empty: no outliers
  TensorView outlier_cols{};
  /// float type, [N]
  TensorView bias{};
  /// [N, K]: outliers meet this instead of the weight's codes
  TensorView original_weight{};
  /// default: A's type
  DType out_dtype = DType::undefined;
  /// [M, N]; default: allocated by the call
  TensorView out{};
  // api: end
};

/// y = (acc_int32 * row_absmax/127 + acc_outlier) * col_absmax/127 + bias, where acc_outlier sums
/// the original activations a [..., K] times the weight's codes over the outlier columns.
OCTAVO_API Tensor int8_mixed_scaled_mm(const TensorView& a, const TensorView& codes,
                                       const TensorView& w, const TensorView& row_absmax,
                                       const TensorView& col_absmax,
                                       const MixedScaledMmOptions& options = {},
                                       const ExecContext& context = {});

/// A weight [N, K] of int8 codes and float32 absolute maxima by row [N], as what products take:
/// `linear(x, Operand(int8_rows(codes, absmax)).transposed(), rule)`. Looks at the codes, which the
/// caller keeps.
OCTAVO_API Quantized int8_rows(const TensorView& codes, const TensorView& row_absmax);

/// codes * (row_absmax / 127), float32.
OCTAVO_API Tensor int8_vectorwise_dequant(const TensorView& codes, const TensorView& row_absmax,
                                          const ExecContext& context = {});

}  // namespace octavo
