/* SPDX-License-Identifier: Apache-2.0 */
/* LLM.int8(): vector-wise int8 products with float outlier columns; llm_int8.hpp. */
#pragma once

#include "octavo/c/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Which elements are outliers, and what becomes of their columns. */
typedef struct octavo_vectorwise_options {
  size_t struct_size;
  /* api: octavo_vectorwise_options, of api/operations.toml */
  /* int64, ascending: columns of code 0 whatever they hold, left out of row_absmax */
  const octavo_view* outlier_columns;
  /* |a| >= threshold is an outlier; 0: off */
  float threshold;
  /* WHOLE_COLUMNS, BY_ELEMENT */
  uint32_t flags;
  /* api: end */
} octavo_vectorwise_options;
OCTAVO_INIT_FUNCTION_(octavo_vectorwise_options);

/* int8 codes of A [..., K] by row, float32 absmax [rows], and int64 outlier columns: NULL at
 * threshold 0 without fixed ones, empty where there are none. */
OCTAVO_C_API octavo_code octavo_int8_vectorwise_quant(
    const octavo_view* a, const octavo_vectorwise_options* options, const octavo_context* context,
    octavo_tensor** codes, octavo_tensor** row_absmax, octavo_tensor** outlier_cols);

/* Codes by row and by column of one matrix; outlier columns are zeroed in both. */
OCTAVO_C_API octavo_code octavo_int8_double_quant(
    const octavo_view* a, const octavo_vectorwise_options* options, const octavo_context* context,
    octavo_tensor** row_codes, octavo_tensor** col_codes, octavo_tensor** row_absmax,
    octavo_tensor** col_absmax, octavo_tensor** outlier_cols);

/* A [..., K] int8 times W [N, K] int8, transposed: exact int32. `out` may be NULL; `result` may be
 * NULL where it is not. */
OCTAVO_C_API octavo_code octavo_int8_linear_matmul(const octavo_view* a, const octavo_view* w,
                                                   const octavo_view* out,
                                                   const octavo_context* context,
                                                   octavo_tensor** result);

/* acc * (row_absmax / 127) * (col_absmax / 127) + bias; out_dtype undefined: float16. */
OCTAVO_C_API octavo_code octavo_int8_mm_dequant(const octavo_view* acc,
                                                const octavo_view* row_absmax,
                                                const octavo_view* col_absmax,
                                                const octavo_view* bias, octavo_dtype out_dtype,
                                                const octavo_context* context,
                                                octavo_tensor** result);

/* octavo_int8_linear_matmul and octavo_int8_mm_dequant in one step. */
OCTAVO_C_API octavo_code octavo_int8_scaled_mm(const octavo_view* a, const octavo_view* w,
                                               const octavo_view* row_absmax,
                                               const octavo_view* col_absmax,
                                               const octavo_view* bias, octavo_dtype out_dtype,
                                               const octavo_context* context,
                                               octavo_tensor** result);

/* The arguments of octavo_int8_mixed_scaled_mm beside its tensors. */
typedef struct octavo_mixed_scaled_mm_options {
  size_t struct_size;
  /* api: octavo_mixed_scaled_mm_options, of api/operations.toml */
  /* int64, ascending; undefined or empty: no outliers */
  const octavo_view* outlier_cols;
  /* float type, [N] */
  const octavo_view* bias;
  /* [N, K]: outliers meet this instead of the weight's codes */
  const octavo_view* original_weight;
  /* [M, N]; default: allocated by the call */
  const octavo_view* out;
  /* default: A's type */
  octavo_dtype out_dtype;
  /* none */
  uint32_t flags;
  /* api: end */
} octavo_mixed_scaled_mm_options;
OCTAVO_INIT_FUNCTION_(octavo_mixed_scaled_mm_options);

/* y = (acc_int32 * row_absmax/127 + acc_outlier) * col_absmax/127 + bias */
OCTAVO_C_API octavo_code octavo_int8_mixed_scaled_mm(const octavo_view* a, const octavo_view* codes,
                                                     const octavo_view* w,
                                                     const octavo_view* row_absmax,
                                                     const octavo_view* col_absmax,
                                                     const octavo_mixed_scaled_mm_options* options,
                                                     const octavo_context* context,
                                                     octavo_tensor** result);

/* codes * (row_absmax / 127), float32. */
OCTAVO_C_API octavo_code octavo_int8_vectorwise_dequant(const octavo_view* codes,
                                                        const octavo_view* row_absmax,
                                                        const octavo_context* context,
                                                        octavo_tensor** result);

#ifdef __cplusplus
}
#endif
