/* SPDX-License-Identifier: Apache-2.0 */
/* Products: single, with a packed weight, in groups, and with PyTorch's recipes.
 *
 * Every product: `result` may be NULL where `options->out` says where the elements go. What is
 * computed, shapes, types and rules: the specification and the C++ header named with each function;
 * gradients: octavo/c/gradient.h. */
#pragma once

#include "octavo/c/quantize.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The arguments of octavo_scaled_mm beside the two matrices. */
typedef struct octavo_scaled_mm_options {
  size_t struct_size;
  /* api: octavo_scaled_mm_options, of api/operations.toml */
  /* decode multipliers: undefined (the scale that the operand carries, else none), null (explicitly
   * none), a number, or a tensor (float32, bfloat16, float16, float8_e8m0fnu). Without a
   * granularity a tensor is broadcast: a 1-D scale_a has K elements, a 1-D scale_b N */
  octavo_scale scale_a;
  octavo_scale scale_b;
  /* float type: N elements (or 1, or [1, N]), one for each row [M, 1], or [M, N] */
  const octavo_view* bias;
  /* a number, one element or [N]; multiplies every output, whatever its type */
  octavo_scale scale_result;
  /* a number or one element */
  octavo_scale alpha;
  /* a number or one element; needs c; the number 0: c is not read */
  octavo_scale beta;
  /* [M, N], any float type; without beta: beta = 1 */
  const octavo_view* c;
  /* zero points of an integer A: int32, int8 or uint8; one element or [M] */
  const octavo_view* azp;
  /* where the result goes; default: allocated by the call. No gradient flows through it */
  const octavo_view* out;
  /* force a backend by name (reference, ...); default: the best that accepts */
  const char* backend;
  /* default: that of a 16- or 32-bit float type with itself or with 8 bits, bfloat16 for fp8 with
   * fp8, else float32. int32: the exact sum of integers */
  octavo_dtype out_dtype;
  /* what every product takes */
  int32_t k_chunks; /* as MatmulOptions has it */
  /* TRANS_A, TRANS_B, MATMUL_FLAGS */
  uint32_t flags;
  uint32_t reserved;
  /* api: end */
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

/* The arguments of octavo_linear beside x and the weight. */
typedef struct octavo_linear_options {
  size_t struct_size;
  /* api: octavo_linear_options, of api/operations.toml */
  /* float type, [N] */
  const octavo_view* bias;
  /* [..., N]; default: allocated by the call */
  const octavo_view* out;
  /* force a backend by name; default: the best that accepts */
  const char* backend;
  /* LLM.int8: further outlier columns of this call (a pool's), int64 [count], ascending */
  const octavo_view* outlier_columns;
  /* LLM.int8: the original weight [K, N], which outliers meet instead of the codes */
  const octavo_view* outlier_weight;
  /* LLM.int8: gets the outlier columns of this call, ascending; null: not wanted */
  int64_t* found_columns;
  int64_t* found_count;
  /* default: x's type */
  octavo_dtype out_dtype;
  /* what every product takes */
  int32_t k_chunks; /* as MatmulOptions has it */
  /* MATMUL_FLAGS */
  uint32_t flags;
  uint32_t reserved;
  /* api: end */
} octavo_linear_options;
OCTAVO_INIT_FUNCTION_(octavo_linear_options);

/* y = x @ W + bias for x [..., K], quantised on the fly as the weight's rule says; linear.hpp */
OCTAVO_C_API octavo_code octavo_linear(const octavo_view* x, const octavo_packed* weight,
                                       const octavo_linear_options* options,
                                       const octavo_context* context, octavo_tensor** result);

/* Arrays are NULL or have `count` elements; biases and outs may hold NULL. */
typedef struct octavo_grouped_list_options {
  size_t struct_size;
  /* api: octavo_grouped_list_options, of api/operations.toml */
  /* one for each entry, where it has one */
  const octavo_view* const* biases;
  /* one for each entry */
  const octavo_scale* scales_a;
  const octavo_scale* scales_b;
  /* where results go; default: allocated by the call */
  const octavo_view* const* outs;
  /* force a backend by name; default: the best that accepts */
  const char* backend;
  /* of all results */
  octavo_dtype out_dtype;
  /* what every product takes */
  int32_t k_chunks; /* as MatmulOptions has it */
  /* MATMUL_FLAGS */
  uint32_t flags;
  uint32_t reserved;
  /* api: end */
} octavo_grouped_list_options;
OCTAVO_INIT_FUNCTION_(octavo_grouped_list_options);

/* results[i] = cast(inputs[i] @ weights[i] + biases[i]) for i < count; grouped.hpp. Fills all of
 * `results`, or, after a failure, sets all to NULL. */
OCTAVO_C_API octavo_code octavo_grouped_mm_list(const octavo_operand* const* inputs,
                                                const octavo_operand* const* weights, int64_t count,
                                                const octavo_grouped_list_options* options,
                                                const octavo_context* context,
                                                octavo_tensor** results);

/* The arguments of octavo_grouped_mm beside the two tensors. */
typedef struct octavo_grouped_mm_options {
  size_t struct_size;
  /* api: octavo_grouped_mm_options, of api/operations.toml */
  /* int32 or int64 [G]: cumulative ends; [G + 1] from 0 with `offs_prefix` */
  const octavo_view* offs;
  /* [N] or [G, N]; 3-D by 2-D: [N] of the whole output */
  const octavo_view* bias;
  /* one element, [M] per row, or what a granularity says */
  octavo_scale scale_a;
  octavo_scale scale_b;
  /* a number or one element; beta needs c */
  octavo_scale alpha;
  octavo_scale beta;
  /* the shape of the output; without beta: beta = 1; not added past the last group */
  const octavo_view* c;
  /* a number, one element or [N]; multiplies every output */
  octavo_scale scale_result;
  /* where the result goes; default: allocated by the call. No gradient flows through it */
  const octavo_view* out;
  /* force a backend by name; default: the best that accepts */
  const char* backend;
  /* default: as of scaled_mm */
  octavo_dtype out_dtype;
  /* what every product takes */
  int32_t k_chunks; /* as MatmulOptions has it */
  /* OFFS_PREFIX, MATMUL_FLAGS */
  uint32_t flags;
  uint32_t reserved;
  /* api: end */
} octavo_grouped_mm_options;
OCTAVO_INIT_FUNCTION_(octavo_grouped_mm_options);

/* The tensor forms 2-D x 3-D, 3-D x 2-D, 2-D x 2-D and 3-D x 3-D; grouped.hpp */
OCTAVO_C_API octavo_code octavo_grouped_mm(const octavo_operand* a, const octavo_operand* b,
                                           const octavo_grouped_mm_options* options,
                                           const octavo_context* context, octavo_tensor** result);
/* Scratch memory that octavo_grouped_mm would take on this context. */
OCTAVO_C_API octavo_code octavo_grouped_mm_workspace_bytes(const octavo_operand* a,
                                                           const octavo_operand* b,
                                                           const octavo_grouped_mm_options* options,
                                                           const octavo_context* context,
                                                           size_t* result);

/* The arguments of octavo_scaled_grouped_mm beside the two tensors. */
typedef struct octavo_scaled_grouped_mm_options {
  size_t struct_size;
  /* api: octavo_scaled_grouped_mm_options, of api/operations.toml */
  /* a number or one element; 1 skips the multiply */
  octavo_scale scale;
  /* where the result goes; default: allocated by the call. No gradient flows through it */
  const octavo_view* out;
  /* force a backend by name; default: the best that accepts */
  const char* backend;
  /* default: as of scaled_mm */
  octavo_dtype out_dtype;
  /* what every product takes */
  int32_t k_chunks; /* as MatmulOptions has it */
  /* TRANS_B, MATMUL_FLAGS */
  uint32_t flags;
  uint32_t reserved;
  /* api: end */
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
/* PyTorch's SwizzleType. */
enum { OCTAVO_NO_SWIZZLE = 0, OCTAVO_SWIZZLE_32_4_4 = 1 };
/* One scale tensor and its declared layout. */
typedef struct octavo_recipe_scale {
  const octavo_view* values; /* the scales */
  int32_t recipe;            /* OCTAVO_TENSOR_WISE, ... */
  int32_t swizzle;           /* OCTAVO_NO_SWIZZLE, ... */
} octavo_recipe_scale;

/* The arguments of PyTorch's functions beside matrices and scales. */
typedef struct octavo_functional_options {
  size_t struct_size;
  /* api: octavo_functional_options, of api/operations.toml */
  /* [N], or [G, N] */
  const octavo_view* bias;
  /* scaled_grouped_mm only: int32 or int64 cumulative ends [G] */
  const octavo_view* offs;
  /* where the result goes; default: allocated by the call */
  const octavo_view* out;
  /* force a backend by name; default: the best that accepts */
  const char* backend;
  /* undefined: bfloat16 */
  octavo_dtype output_dtype;
  /* FAST_ACCUMULATION, TORCH_COMPAT */
  uint32_t flags;
  /* api: end */
} octavo_functional_options;
OCTAVO_INIT_FUNCTION_(octavo_functional_options);

/* torch.nn.functional.scaled_mm and scaled_grouped_mm; scales are arrays of one or two. */
OCTAVO_C_API octavo_code octavo_functional_scaled_mm(
    const octavo_view* mat_a, const octavo_view* mat_b, const octavo_recipe_scale* scale_a,
    int64_t scale_a_count, const octavo_recipe_scale* scale_b, int64_t scale_b_count,
    const octavo_functional_options* options, const octavo_context* context,
    octavo_tensor** result);
/* torch.nn.functional.scaled_grouped_mm; `offs` is in the options. */
OCTAVO_C_API octavo_code octavo_functional_scaled_grouped_mm(
    const octavo_view* mat_a, const octavo_view* mat_b, const octavo_recipe_scale* scale_a,
    int64_t scale_a_count, const octavo_recipe_scale* scale_b, int64_t scale_b_count,
    const octavo_functional_options* options, const octavo_context* context,
    octavo_tensor** result);

#ifdef __cplusplus
}
#endif
