/* SPDX-License-Identifier: Apache-2.0 */
/* The C ABI of Octavo: what lies between products. */
#pragma once

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

#ifdef __cplusplus
}
#endif
