// SPDX-License-Identifier: Apache-2.0
// Mixtures of experts: packed experts, and the layer that routes tokens through them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "octavo/backend.hpp"
#include "octavo/context.hpp"
#include "octavo/packed.hpp"
#include "octavo/quantize.hpp"
#include "octavo/tensor.hpp"

namespace octavo {

/// The opaque content of packed experts.
struct ExpertWeightsData;

/// E weights [K, N] of one type, one granularity and one activation rule: immutable, shareable
/// between threads, cheap to copy. All codes lie in one block, in large pages where the system has
/// them.
class OCTAVO_API ExpertWeights {
 public:
  ExpertWeights() = default;
  explicit ExpertWeights(std::shared_ptr<const ExpertWeightsData> content) noexcept
      : content_(std::move(content)) {}

  /// Whether it holds weights.
  bool defined() const noexcept { return content_ != nullptr; }
  /// How many there are.
  std::int64_t experts() const noexcept;
  /// K of each.
  std::int64_t k() const noexcept;
  /// N of each.
  std::int64_t n() const noexcept;
  /// Of the codes.
  DType dtype() const noexcept;
  /// What one scale covers of a stored expert [N, K], see pack_experts; automatic: no scales.
  Granularity granularity() const noexcept;
  /// As PackedWeight's.
  const char* layout() const noexcept;
  /// Of codes, scales and column sums of all experts.
  std::size_t bytes() const noexcept;
  /// Where codes and scales lie; of empty ones the host.
  Device device() const noexcept;
  /// How activations meet these weights in fused_experts.
  const std::optional<ActivationQuant>& activation() const noexcept;
  /// An expert in [0, experts()).
  const PackedWeight& operator[](std::int64_t expert) const noexcept;
  /// What backends read.
  const ExpertWeightsData* content() const noexcept { return content_.get(); }

 private:
  std::shared_ptr<const ExpertWeightsData> content_;
};

/// | granularity | scale of a weight [E, N, K]         |
/// |-------------|-------------------------------------|
/// | automatic   | [E] or [E, 1, 1]: per_tensor; [E, N] or [E, N, 1]: per_channel |
/// | per_tensor  | [E], [E, 1] or [E, 1, 1]            |
/// | per_channel | [E, N] or [E, N, 1]                 |
/// | group(g)    | [E, N, ceil(K / g)]                 |
/// | block(r, c) | [E, ceil(N / r), ceil(K / c)]       |
struct PackExpertsOptions {
  // api: PackExpertsOptions, of api/operations.toml
  /// [E] (one an expert), [E, N] or [E, N, 1] (one a row of N), or with a granularity group128 [E,
  /// N, ceil(K/128)], block128x128 [E, ceil(N/128), ceil(K/128)]; or a number for all; default:
  /// none
  Scale scale{};
  /// how activations meet the experts; default: as they are (bfloat16 or float16 by 8-bit experts,
  /// or experts of their own type). A static scale is one for all experts; outlier columns are
  /// refused
  std::optional<ActivationQuant> activation{};
  /// as of pack
  const char* backend = nullptr;
  // api: end
};

/// Packs experts [E, N, K] as checkpoints store them (any strides, any type that `pack` takes), a
/// block of rows of N for each expert. Throws Error.
OCTAVO_API ExpertWeights pack_experts(const TensorView& weight,
                                      const PackExpertsOptions& options = {},
                                      const ExecContext& context = {});

/// Codes and scales, bit for bit.
struct UnpackedExperts {
  Tensor data;              ///< [E, N, K]
  Tensor scale;             ///< [E], [E, N], or as the granularity says; undefined: none
  Granularity granularity;  ///< of `scale`
};
/// The codes and scales that were packed, bit for bit. Throws Error.
OCTAVO_API UnpackedExperts unpack_experts(const ExpertWeights& weights,
                                          const ExecContext& context = {});

/// The experts on another device, as to_device of one weight. Throws Error.
OCTAVO_API ExpertWeights to_device(const ExpertWeights& weights, const Device& device,
                                   const ExecContext& context = {});

/// The arguments of silu_and_mul beside x.
struct SiluAndMulOptions {
  // api: SiluAndMulOptions, of api/operations.toml
  /// a float type; default: x's
  DType out_dtype = DType::undefined;
  /// [..., I]; default: allocated by the call
  TensorView out{};
  /// force a backend by name; default: the best that accepts
  const char* backend = nullptr;
  // api: end
};

/// y[i] = cast(silu(x[i]) * x[I + i]) for x [..., 2 I] of bfloat16, float16 or float32.
///
/// silu(x) = x / (1 + e^-x) in float32 arithmetic whose bits are the same on every machine: within
/// 4 ulp of the exact value, half a step of the smallest numbers included; -0 at -infinity.
/// Source: specification section 7. Throws Error.
OCTAVO_API Tensor silu_and_mul(const TensorView& x, const SiluAndMulOptions& options = {},
                               const ExecContext& context = {});

/// The arguments of silu_and_mul_quantize beside x.
struct SiluAndMulQuantizeOptions {
  // api: SiluAndMulQuantizeOptions, of api/operations.toml
  /// how codes and scales are made
  QuantizeOptions quantize{};
  /// force a backend by name; default: the best that accepts
  const char* backend = nullptr;
  // api: end
};

/// quantize(silu_and_mul(x)) in one pass: the codes, scales and zero points of the rows [R, I] of x
/// [..., 2 I], in x's type, bit for bit.
///
/// NonFinite::error is refused. Source: specification sections 6 and 7. Throws Error; CUDA devices
/// are refused.
OCTAVO_API Quantized silu_and_mul_quantize(const TensorView& x,
                                           const SiluAndMulQuantizeOptions& options = {},
                                           const ExecContext& context = {});

/// The arguments of fused_experts beside its tensors.
struct FusedExpertsOptions {
  // api: FusedExpertsOptions, of api/operations.toml
  /// float type, [E, 2 I]
  TensorView bias13{};
  /// float type, [E, N]
  TensorView bias2{};
  /// the weight multiplies x, in float32, rounded to x's type, instead of the expert's result
  bool apply_router_weight_on_input = false;
  /// int32: ids to experts of w13 and w2, or -1: not here
  TensorView expert_map{};
  /// a float type; default: x's
  DType out_dtype = DType::undefined;
  /// x's leading dimensions and N; default: allocated by the call
  TensorView out{};
  /// what every product takes
  MatmulOptions matmul{};
  /// force a backend by name; default: the best that accepts
  const char* backend = nullptr;
  // api: end
};

/// y[m] = sum over slots t of topk_weights[m, t] * (W2[e] @ act(W13[e] @ x[m] + b13[e]) + b2[e]),
/// e = topk_ids[m, t], act(h) = silu(h[:I]) * h[I:]
///
/// Shapes   x [..., K of w13] with M rows; w13: E weights [K, 2 I]; w2: E weights [I, N];
///          topk_weights (float type) and topk_ids (int32 or int64) [M, T]. Any of M, T and I may
///          be 0. An id of -1, in topk_ids or in expert_map, contributes nothing.
/// Numerics Bit-equal to the separate operations with float32 between them: quantize by w13's
///          rule, scaled_mm, silu_and_mul, quantize by w2's rule, scaled_mm, a float32 sum in
///          ascending t, one conversion. A row depends on no other row, unless a rule makes one
///          dynamic scale for several. Source: specification section 7.
/// Throws Error.
OCTAVO_API Tensor fused_experts(const TensorView& x, const ExpertWeights& w13,
                                const ExpertWeights& w2, const TensorView& topk_weights,
                                const TensorView& topk_ids, const FusedExpertsOptions& options = {},
                                const ExecContext& context = {});

/// What runs the two products of fused_experts for these arguments, and why.
struct FusedExpertsExplanation {
  std::int64_t routes = 0;              ///< rows of each product
  std::int64_t touched = 0;             ///< experts that have rows
  std::size_t workspace_bytes = 0;      ///< of the whole call
  std::array<Explanation, 2> products;  ///< by w13, by w2
  /// All of it in lines, for people.
  OCTAVO_API std::string to_string() const;
};
/// Explains fused_experts for these arguments. Throws Error.
OCTAVO_API FusedExpertsExplanation
explain_fused_experts(const TensorView& x, const ExpertWeights& w13, const ExpertWeights& w2,
                      const TensorView& topk_weights, const TensorView& topk_ids,
                      const FusedExpertsOptions& options = {}, const ExecContext& context = {});

}  // namespace octavo
