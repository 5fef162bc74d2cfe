// SPDX-License-Identifier: Apache-2.0
// The arguments of fused_experts, and of experts on several ranks, checked.
#pragma once

#include <optional>

#include "backends/backend.hpp"
#include "layers/routing.hpp"
#include "octavo/moe.hpp"
#include "ops/product/lower.hpp"

namespace octavo {

inline constexpr const char* kFusedExperts = "fused_experts";

/// The tensors of a call.
struct ExpertTensors {
  const TensorView& x;
  const TensorView& weights;
  const TensorView& ids;
};

struct ExpertCall {
  const char* operation = kFusedExperts;
  FlatRows flat;  ///< keeps x where it had to be copied
  TensorView x;   ///< [M, K]
  DType x_dtype = DType::undefined;
  std::optional<Rows> codes;  ///< x by w13's rule, where it is made elsewhere
  const ExpertWeights* w13 = nullptr;
  const ExpertWeights* w2 = nullptr;
  TensorView bias13, bias2;  ///< [E, .]
  Routing routing;
  bool factors_on_input = false;
  DType out_dtype = DType::undefined;
  MatmulOptions options;
};

/// Two weights are the experts of one layer.
Status check_experts(const char* operation, const ExpertWeights& w13, const ExpertWeights& w2);

/// Everything but the values of x. Ids are those of so many experts, or of the map's.
Result<ExpertCall> expert_call(const char* operation, const ExpertTensors& tensors,
                               const ExpertWeights& w13, const ExpertWeights& w2,
                               std::int64_t experts, const FusedExpertsOptions& options,
                               const ExecContext& context);

/// The supplied output, checked, or a new one.
Result<FlatOut> expert_out(const ExpertCall& call, const ExpertTensors& tensors,
                           const FusedExpertsOptions& options, const ExecContext& context);

/// A rule that refuses what is not finite finds none in x.
Status check_rows(const ExpertCall& call, const Backend& backend, const ExecContext& context);

}  // namespace octavo
