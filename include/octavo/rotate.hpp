// SPDX-License-Identifier: Apache-2.0
// Rotations before quantisers: outliers are spread over blocks of neighbours.
#pragma once

#include "octavo/context.hpp"
#include "octavo/export.hpp"
#include "octavo/tensor.hpp"

namespace octavo {

/// The arguments of rotate beside x.
struct RotateOptions {
  // api: RotateOptions, of api/operations.toml
  /// neighbours that are rotated together: 16, 64 or 256
  std::int32_t block = 64;
  /// bfloat16, float16 or float32; default: x's
  DType out_dtype = DType::undefined;
  /// [..., C]; default: allocated by the call
  TensorView out{};
  /// force a backend by name; default: the best that accepts
  const char* backend = nullptr;
  // api: end
};

/// R(x): blocks of neighbours in the last dimension of x [..., C] times a normalised Hadamard
/// matrix, in float32, converted once.
///
/// The matrix is symmetric and its own inverse: x comes back, but for rounding, where it is rotated
/// twice. A weight [N, K] is rotated before it is quantised, for activations that
/// `ActivationQuant::rotation` rotates by the same block. The bits are the same on every CPU.
/// Source: specification section 6. Throws Error; CUDA devices are refused.
OCTAVO_API Tensor rotate(const TensorView& x, const RotateOptions& options = {},
                         const ExecContext& context = {});

}  // namespace octavo
