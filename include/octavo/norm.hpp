// SPDX-License-Identifier: Apache-2.0
// What lies between the products of a layer: norms.
#pragma once

#include "octavo/context.hpp"
#include "octavo/export.hpp"
#include "octavo/quantize.hpp"
#include "octavo/tensor.hpp"

namespace octavo {

/// The arguments of rms_norm beside x.
struct RmsNormOptions {
  // api: RmsNormOptions, of api/operations.toml
  /// [C], x's type or float32; default: none
  TensorView weight{};
  /// added to the mean
  float epsilon = 1e-6F;
  /// x's type and shape: is added to x in float32 first, and becomes that sum; default: none
  TensorView residual{};
  /// [..., C]; default: allocated by the call
  TensorView out{};
  /// force a backend by name; default: the best that accepts
  const char* backend = nullptr;
  // api: end
};

/// y = cast(t * weight), t = (x / sqrt(mean of x^2 over the last dimension + epsilon)), for x
/// [..., C] of bfloat16, float16 or float32: rounded to the weight's type before it is multiplied,
/// as PyTorch and vLLM do.
///
/// With a residual, x + residual takes the place of x, in float32, and the residual becomes that
/// sum. A row's bits depend on nothing but the row, and are the same on every CPU. Source:
/// specification section 7. Throws Error; CUDA devices are refused.
OCTAVO_API Tensor rms_norm(const TensorView& x, const RmsNormOptions& options = {},
                           const ExecContext& context = {});

/// The arguments of rms_norm_quantize beside x.
struct RmsNormQuantizeOptions {
  // api: RmsNormQuantizeOptions, of api/operations.toml
  /// [C], x's type or float32; default: none
  TensorView weight{};
  /// added to the mean
  float epsilon = 1e-6F;
  /// x's type and shape: is added to x in float32 first, and becomes that sum; default: none
  TensorView residual{};
  /// how codes and scales are made
  QuantizeOptions quantize{};
  /// force a backend by name; default: the best that accepts
  const char* backend = nullptr;
  // api: end
};

/// quantize(rms_norm(x)) in one pass: the codes, scales and zero points of the norm's rows [R, C]
/// of x [..., C], in x's type, bit for bit.
///
/// A row is normed and quantised while it lies in a cache, where each has a scale of its own or a
/// given one. NonFinite::error is refused. Source: specification sections 6 and 7. Throws Error;
/// CUDA devices are refused.
OCTAVO_API Quantized rms_norm_quantize(const TensorView& x,
                                       const RmsNormQuantizeOptions& options = {},
                                       const ExecContext& context = {});

}  // namespace octavo
