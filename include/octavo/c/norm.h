/* SPDX-License-Identifier: Apache-2.0 */
/* The C ABI of Octavo: what lies between products. */
#pragma once

#include "octavo/c/quantize.h"
#include "octavo/c/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The arguments of octavo_rms_norm beside x. */
typedef struct octavo_rms_norm_options {
  size_t struct_size;
  /* api: octavo_rms_norm_options, of api/operations.toml */
  /* [C], x's type or float32; default: none */
  const octavo_view* weight;
  /* x's type and shape: is added to x in float32 first, and becomes that sum; default: none */
  const octavo_view* residual;
  /* [..., C]; default: allocated by the call */
  const octavo_view* out;
  /* force a backend by name; default: the best that accepts */
  const char* backend;
  /* added to the mean */
  float epsilon;
  /* none */
  uint32_t flags;
  /* api: end */
} octavo_rms_norm_options;
OCTAVO_INIT_FUNCTION_(octavo_rms_norm_options);

/* y = x / sqrt(mean of x^2 over the last dimension + epsilon) * weight for x [..., C]; norm.hpp */
OCTAVO_C_API octavo_code octavo_rms_norm(const octavo_view* x,
                                         const octavo_rms_norm_options* options,
                                         const octavo_context* context, octavo_tensor** result);

/* The arguments of octavo_rms_norm_quantize beside x. */
typedef struct octavo_rms_norm_quantize_options {
  size_t struct_size;
  /* api: octavo_rms_norm_quantize_options, of api/operations.toml */
  /* [C], x's type or float32; default: none */
  const octavo_view* weight;
  /* x's type and shape: is added to x in float32 first, and becomes that sum; default: none */
  const octavo_view* residual;
  /* how codes and scales are made */
  const octavo_quantize_options* quantize;
  /* force a backend by name; default: the best that accepts */
  const char* backend;
  /* added to the mean */
  float epsilon;
  /* none */
  uint32_t flags;
  /* api: end */
} octavo_rms_norm_quantize_options;
OCTAVO_INIT_FUNCTION_(octavo_rms_norm_quantize_options);

/* octavo_quantize of octavo_rms_norm's rows [R, C] in one pass, bit for bit; norm.hpp */
OCTAVO_C_API octavo_code octavo_rms_norm_quantize(const octavo_view* x,
                                                  const octavo_rms_norm_quantize_options* options,
                                                  const octavo_context* context,
                                                  octavo_quantized** result);

/* The arguments of octavo_silu_and_mul_quantize beside x. */
typedef struct octavo_silu_and_mul_quantize_options {
  size_t struct_size;
  /* api: octavo_silu_and_mul_quantize_options, of api/operations.toml */
  /* how codes and scales are made */
  const octavo_quantize_options* quantize;
  /* force a backend by name; default: the best that accepts */
  const char* backend;
  /* api: end */
} octavo_silu_and_mul_quantize_options;
OCTAVO_INIT_FUNCTION_(octavo_silu_and_mul_quantize_options);

/* octavo_quantize of silu(x[:I]) * x[I:] of rows [R, 2 I] of x in one pass; moe.hpp */
OCTAVO_C_API octavo_code octavo_silu_and_mul_quantize(
    const octavo_view* x, const octavo_silu_and_mul_quantize_options* options,
    const octavo_context* context, octavo_quantized** result);

#ifdef __cplusplus
}
#endif
