/* SPDX-License-Identifier: Apache-2.0 */
/* Products: single, with a packed weight, in groups, and with PyTorch's recipes.
 *
 * Every product: `result` may be NULL where `options->out` says where the elements go. What is
 * computed, shapes, types and rules: the specification and the C++ header named with each function;
 * gradients: octavo_gradient.h. */
#pragma once

#include "octavo/octavo_quantize.h"

#ifdef __cplusplus
extern "C" {
#endif

/* flags: TRANS_A, TRANS_B, MATMUL_FLAGS */
typedef struct octavo_scaled_mm_options {
  size_t struct_size;
  octavo_scale scale_a, scale_b, scale_result, alpha, beta;
  const octavo_view* bias; /* [N], [1, N] or one element */
  const octavo_view* c;    /* [M, N] */
  const octavo_view* azp;  /* zero points of A */
  const octavo_view* out;
  octavo_dtype out_dtype; /* undefined: the default of the operands' types */
  uint32_t flags;
  const char* backend; /* force one by name; NULL: the best that accepts */
} octavo_scaled_mm_options;
OCTAVO_INIT_FUNCTION_(octavo_scaled_mm_options);

/* out = cast(((A * scale_a) @ (B * scale_b) * alpha + beta * C + bias) * scale_result); matmul.hpp
 */
OCTAVO_C_API octavo_code octavo_scaled_mm(const octavo_operand* a, const octavo_operand* b,
                                          const octavo_scaled_mm_options* options,
                                          const octavo_context* context, octavo_tensor** result);
/* Scratch memory that the call would take on this context. */
OCTAVO_C_API octavo_code octavo_scaled_mm_workspace_bytes(const octavo_operand* a,
                                                          const octavo_operand* b,
                                                          const octavo_scaled_mm_options* options,
                                                          const octavo_context* context,
                                                          size_t* result);

/* flags: MATMUL_FLAGS */
typedef struct octavo_linear_options {
  size_t struct_size;
  const octavo_view* bias;
  const octavo_view* out; /* [..., N] */
  octavo_dtype out_dtype; /* undefined: x's type */
  uint32_t flags;
  const char* backend;
  /* of a weight packed with VECTORWISE: */
  const octavo_view* outlier_columns; /* further fixed columns of this call: int64, ascending */
  const octavo_view* outlier_weight;  /* [K, N]: outliers meet this instead of the codes */
  int64_t*
      found_columns;    /* room for K: gets the call's outlier columns, ascending; NULL: unasked */
  int64_t* found_count; /* how many they are */
} octavo_linear_options;
OCTAVO_INIT_FUNCTION_(octavo_linear_options);

/* y = x @ W + bias for x [..., K], quantised on the way as the weight's rule says; linear.hpp */
OCTAVO_C_API octavo_code octavo_linear(const octavo_view* x, const octavo_packed* weight,
                                       const octavo_linear_options* options,
                                       const octavo_context* context, octavo_tensor** result);

/* Arrays are NULL or have `count` elements; biases and outs may hold NULL. flags: MATMUL_FLAGS */
typedef struct octavo_grouped_list_options {
  size_t struct_size;
  const octavo_view* const* biases;
  const octavo_view* const* outs;
  const octavo_scale* scales_a;
  const octavo_scale* scales_b;
  octavo_dtype out_dtype;
  uint32_t flags;
  const char* backend;
} octavo_grouped_list_options;
OCTAVO_INIT_FUNCTION_(octavo_grouped_list_options);

/* results[i] = cast(inputs[i] @ weights[i] + biases[i]) for i < count; grouped.hpp. Fills all of
 * `results`, or, after a failure, sets all to NULL. */
OCTAVO_C_API octavo_code octavo_grouped_mm_list(const octavo_operand* const* inputs,
                                                const octavo_operand* const* weights, int64_t count,
                                                const octavo_grouped_list_options* options,
                                                const octavo_context* context,
                                                octavo_tensor** results);

/* flags: OFFS_PREFIX, MATMUL_FLAGS */
typedef struct octavo_grouped_mm_options {
  size_t struct_size;
  const octavo_view* offs; /* int32 or int64 [G]: cumulative ends */
  const octavo_view* bias;
  const octavo_view* c;
  const octavo_view* out;
  octavo_scale scale_a, scale_b, scale_result, alpha, beta;
  octavo_dtype out_dtype;
  uint32_t flags;
  const char* backend;
} octavo_grouped_mm_options;
OCTAVO_INIT_FUNCTION_(octavo_grouped_mm_options);

/* The tensor forms 2-D x 3-D, 3-D x 2-D, 2-D x 2-D and 3-D x 3-D; grouped.hpp */
OCTAVO_C_API octavo_code octavo_grouped_mm(const octavo_operand* a, const octavo_operand* b,
                                           const octavo_grouped_mm_options* options,
                                           const octavo_context* context, octavo_tensor** result);
OCTAVO_C_API octavo_code octavo_grouped_mm_workspace_bytes(const octavo_operand* a,
                                                           const octavo_operand* b,
                                                           const octavo_grouped_mm_options* options,
                                                           const octavo_context* context,
                                                           size_t* result);

/* flags: TRANS_B, MATMUL_FLAGS */
typedef struct octavo_scaled_grouped_mm_options {
  size_t struct_size;
  octavo_scale scale; /* a number or one element */
  const octavo_view* out;
  octavo_dtype out_dtype;
  uint32_t flags;
  const char* backend;
} octavo_scaled_grouped_mm_options;
OCTAVO_INIT_FUNCTION_(octavo_scaled_grouped_mm_options);

/* output[b] = (input[b] @ weight[b]) * scale, strictly 3-D; grouped.hpp */
OCTAVO_C_API octavo_code octavo_scaled_grouped_mm(const octavo_operand* input,
                                                  const octavo_operand* weight,
                                                  const octavo_scaled_grouped_mm_options* options,
                                                  const octavo_context* context,
                                                  octavo_tensor** result);

/* PyTorch's ScalingType and SwizzleType, value for value; functional.hpp */
enum {
  OCTAVO_TENSOR_WISE = 0,
  OCTAVO_ROW_WISE = 1,
  OCTAVO_BLOCK_WISE_1X16 = 2,
  OCTAVO_BLOCK_WISE_1X32 = 3,
  OCTAVO_BLOCK_WISE_1X128 = 4,
  OCTAVO_BLOCK_WISE_128X128 = 5
};
enum { OCTAVO_NO_SWIZZLE = 0, OCTAVO_SWIZZLE_32_4_4 = 1 };
typedef struct octavo_recipe_scale {
  const octavo_view* values;
  int32_t recipe;
  int32_t swizzle;
} octavo_recipe_scale;

/* flags: FAST_ACCUMULATION, TORCH_COMPAT */
typedef struct octavo_functional_options {
  size_t struct_size;
  const octavo_view* bias;
  const octavo_view* offs; /* octavo_functional_scaled_grouped_mm only */
  const octavo_view* out;
  octavo_dtype output_dtype; /* undefined: bfloat16 */
  uint32_t flags;
  const char* backend;
} octavo_functional_options;
OCTAVO_INIT_FUNCTION_(octavo_functional_options);

/* torch.nn.functional.scaled_mm and scaled_grouped_mm; scales are arrays of one or two. */
OCTAVO_C_API octavo_code octavo_functional_scaled_mm(
    const octavo_view* mat_a, const octavo_view* mat_b, const octavo_recipe_scale* scale_a,
    int64_t scale_a_count, const octavo_recipe_scale* scale_b, int64_t scale_b_count,
    const octavo_functional_options* options, const octavo_context* context,
    octavo_tensor** result);
OCTAVO_C_API octavo_code octavo_functional_scaled_grouped_mm(
    const octavo_view* mat_a, const octavo_view* mat_b, const octavo_recipe_scale* scale_a,
    int64_t scale_a_count, const octavo_recipe_scale* scale_b, int64_t scale_b_count,
    const octavo_functional_options* options, const octavo_context* context,
    octavo_tensor** result);

#ifdef __cplusplus
}
#endif
