// SPDX-License-Identifier: Apache-2.0
// linear: activations times a packed weight, with the quantisation of the activations fused.
#pragma once

#include <cstdint>
#include <vector>

#include "octavo/context.hpp"
#include "octavo/packed.hpp"
#include "octavo/tensor.hpp"

namespace octavo {

/// The arguments of linear beside x and the weight.
struct LinearOptions {
  // api: LinearOptions, of api/operations.toml
  /// float type, [N]
  TensorView bias{};
  /// default: x's type
  DType out_dtype = DType::undefined;
  /// [..., N]; default: allocated by the call
  TensorView out{};
  /// what every product takes
  MatmulOptions matmul{};
  /// force a backend by name; default: the best that accepts
  const char* backend = nullptr;
  /// LLM.int8: further outlier columns of this call (a pool's), int64 [count], ascending
  TensorView outlier_columns{};
  /// LLM.int8: the original weight [K, N], which outliers meet instead of the codes
  TensorView outlier_weight{};
  /// LLM.int8: gets the outlier columns of this call, ascending; null: not wanted
  std::vector<std::int64_t>* found_columns = nullptr;
  // api: end
};

/// y = x @ W + bias for x [..., K] of bfloat16, float16 or float32 and a packed weight [K, N].
///
/// The weight's activation rule decides the path: quantised per token, tensor or group of K and
/// multiplied in 8 bits; LLM.int8 with float outlier columns; or as they are (W8A16, or a float
/// weight of x's type). Bit-equal to the separate quantiser followed by scaled_mm. Throws Error.
OCTAVO_API Tensor linear(const TensorView& x, const PackedWeight& weight,
                         const LinearOptions& options = {}, const ExecContext& context = {});

/// The same for a weight [K, N] that is not packed (one that changes with every step of a training,
/// say) and the rule by which activations are quantised.
OCTAVO_API Tensor linear(const TensorView& x, const Operand& weight, const ActivationQuant& rule,
                         const LinearOptions& options = {}, const ExecContext& context = {});

}  // namespace octavo
