/* SPDX-License-Identifier: Apache-2.0 */
/* Gradients: the vector-Jacobian product of every operation, named behind it; gradient.hpp.
 *
 * Every function takes the gradient of a loss with respect to the operation's result, the arguments
 * of the operation as they were given to it (`forward`: its options, of which `out` is not read),
 * and which gradients are wanted. It fills a struct of tensors that the caller releases: what was
 * not wanted is NULL. After a failure all of them are NULL. A gradient that is wanted has to have a
 * place in the caller's struct. A workspace in the context is left alone. */
#pragma once

#include "octavo/c/matmul.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What `wanted` fields are made of: the arguments whose gradients are asked for. Each struct names
 * those it takes; others are refused, and so is that of an argument that was not given. */
enum {
  OCTAVO_WANT_A = 1 << 0,
  OCTAVO_WANT_B = 1 << 1,
  OCTAVO_WANT_BIAS = 1 << 2,
  OCTAVO_WANT_SCALE_A = 1 << 3,
  OCTAVO_WANT_SCALE_B = 1 << 4,
  OCTAVO_WANT_ALPHA = 1 << 5,
  OCTAVO_WANT_BETA = 1 << 6,
  OCTAVO_WANT_C = 1 << 7,
  OCTAVO_WANT_SCALE_RESULT = 1 << 8,
  OCTAVO_WANT_X = 1 << 9,
  OCTAVO_WANT_DATA = 1 << 10,
  OCTAVO_WANT_SCALE = 1 << 11,
  OCTAVO_WANT_AZP = 1 << 12
};

/* wanted: A, B, BIAS, SCALE_A, SCALE_B, ALPHA, BETA, C, SCALE_RESULT
 * flags: FLOAT32_GRADIENTS, DEQUANTIZED_GRADIENTS */
typedef struct octavo_matmul_vjp_options {
  size_t struct_size;
  uint64_t wanted; /* OCTAVO_WANT_... */
  octavo_dtype
      dtype;      /* of a, b and c; undefined: the argument's own where it is float, or grad's */
  uint32_t flags; /* as above */
} octavo_matmul_vjp_options;
OCTAVO_INIT_FUNCTION_(octavo_matmul_vjp_options);

/* The gradients of a product, each in its argument's shape and stride order; a number's has no
 * dimensions. a, b and c have `dtype`, all others float32. */
typedef struct octavo_matmul_gradients {
  size_t struct_size;
  /* NULL where not wanted */
  octavo_tensor *a, *b, *bias, *scale_a, *scale_b, *alpha, *beta, *c, *scale_result;
} octavo_matmul_gradients;
OCTAVO_INIT_FUNCTION_(octavo_matmul_gradients);

/* grad [M, N]: float32, bfloat16 or float16. */
OCTAVO_C_API octavo_code octavo_scaled_mm_vjp(const octavo_view* grad, const octavo_operand* a,
                                              const octavo_operand* b,
                                              const octavo_scaled_mm_options* forward,
                                              const octavo_matmul_vjp_options* options,
                                              const octavo_context* context,
                                              octavo_matmul_gradients* result);
/* a is x, b the dequantised weight [K, N]. */
OCTAVO_C_API octavo_code octavo_linear_vjp(const octavo_view* grad, const octavo_view* x,
                                           const octavo_packed* weight,
                                           const octavo_linear_options* forward,
                                           const octavo_matmul_vjp_options* options,
                                           const octavo_context* context,
                                           octavo_matmul_gradients* result);
/* The four tensor forms. */
OCTAVO_C_API octavo_code octavo_grouped_mm_vjp(const octavo_view* grad, const octavo_operand* a,
                                               const octavo_operand* b,
                                               const octavo_grouped_mm_options* forward,
                                               const octavo_matmul_vjp_options* options,
                                               const octavo_context* context,
                                               octavo_matmul_gradients* result);
/* Fills results[i] for i < count. Of biases and scales, entries that were not given have none. */
OCTAVO_C_API octavo_code octavo_grouped_mm_list_vjp(
    const octavo_view* const* grads, const octavo_operand* const* inputs,
    const octavo_operand* const* weights, int64_t count, const octavo_grouped_list_options* forward,
    const octavo_matmul_vjp_options* options, const octavo_context* context,
    octavo_matmul_gradients* const* results);
/* a is input, b weight, alpha scale. */
OCTAVO_C_API octavo_code octavo_scaled_grouped_mm_vjp(
    const octavo_view* grad, const octavo_operand* input, const octavo_operand* weight,
    const octavo_scaled_grouped_mm_options* forward, const octavo_matmul_vjp_options* options,
    const octavo_context* context, octavo_matmul_gradients* result);

/* Of two scale tensors the first has a gradient, in its own layout; a swizzled one has none. */
OCTAVO_C_API octavo_code octavo_functional_scaled_mm_vjp(
    const octavo_view* grad, const octavo_view* mat_a, const octavo_view* mat_b,
    const octavo_recipe_scale* scale_a, int64_t scale_a_count, const octavo_recipe_scale* scale_b,
    int64_t scale_b_count, const octavo_functional_options* forward,
    const octavo_matmul_vjp_options* options, const octavo_context* context,
    octavo_matmul_gradients* result);
/* The gradients of octavo_functional_scaled_grouped_mm. */
OCTAVO_C_API octavo_code octavo_functional_scaled_grouped_mm_vjp(
    const octavo_view* grad, const octavo_view* mat_a, const octavo_view* mat_b,
    const octavo_recipe_scale* scale_a, int64_t scale_a_count, const octavo_recipe_scale* scale_b,
    int64_t scale_b_count, const octavo_functional_options* forward,
    const octavo_matmul_vjp_options* options, const octavo_context* context,
    octavo_matmul_gradients* result);

/* wanted: X, SCALE */
typedef struct octavo_quantize_vjp_options {
  size_t struct_size;
  uint32_t wanted;      /* OCTAVO_WANT_X, OCTAVO_WANT_SCALE */
  float gradient_scale; /* a factor of scale's gradient; 0: 1 */
} octavo_quantize_vjp_options;
OCTAVO_INIT_FUNCTION_(octavo_quantize_vjp_options);

/* The gradients of octavo_quantize_vjp; NULL where not wanted. */
typedef struct octavo_quantize_gradients {
  size_t struct_size;
  octavo_tensor* x;     /* [R, C], x's type */
  octavo_tensor* scale; /* float32, shaped as the scale argument */
} octavo_quantize_gradients;
OCTAVO_INIT_FUNCTION_(octavo_quantize_gradients);

/* Of x -> dequantize(quantize(x)), the fake quantiser of training: straight through for a computed
 * scale, learned step sizes (LSQ) for a static one. grad [R, C] is that of the dequantised values.
 */
OCTAVO_C_API octavo_code octavo_quantize_vjp(const octavo_view* grad, const octavo_view* x,
                                             const octavo_quantize_options* forward,
                                             const octavo_quantize_vjp_options* options,
                                             const octavo_context* context,
                                             octavo_quantize_gradients* result);

/* wanted: DATA, SCALE, AZP */
typedef struct octavo_dequantize_vjp_options {
  size_t struct_size;
  uint64_t wanted; /* OCTAVO_WANT_DATA, OCTAVO_WANT_SCALE, OCTAVO_WANT_AZP */
} octavo_dequantize_vjp_options;
OCTAVO_INIT_FUNCTION_(octavo_dequantize_vjp_options);

/* The gradients of octavo_dequantize_vjp; NULL where not wanted. */
typedef struct octavo_dequantize_gradients {
  size_t struct_size;
  octavo_tensor* data;  /* [R, C], with respect to the codes; grad's type */
  octavo_tensor* scale; /* float32, shaped as q's scale */
  octavo_tensor* azp;   /* float32, shaped as q's azp */
} octavo_dequantize_gradients;
OCTAVO_INIT_FUNCTION_(octavo_dequantize_gradients);

/* grad [R, C] */
OCTAVO_C_API octavo_code octavo_dequantize_vjp(const octavo_view* grad, const octavo_quantized* q,
                                               const octavo_dequantize_vjp_options* options,
                                               const octavo_context* context,
                                               octavo_dequantize_gradients* result);

#ifdef __cplusplus
}
#endif
