// SPDX-License-Identifier: Apache-2.0
// The products of experts over routed rows.
#pragma once

#include <vector>

#include "layers/fused_experts.hpp"

namespace octavo {

/// One of the two products: a member for each touched expert.
class ExpertProduct {
 public:
  // What does not depend on addresses.
  void outline(const ExpertCall& call, const Rows& rows, const ExpertWeights& weights,
               const TensorView& bias);
  Status plan(const ExecContext& context, const char* backend);
  Status run(const Routing& routing, const Rows& rows, const MatrixView& out,
             const ExecContext& context, void* workspace);
  std::size_t workspace_bytes() const noexcept { return plan_.workspace_bytes; }
  const MatmulProblem& problem() const noexcept { return problem_; }

 private:
  std::vector<Member> members_;
  MatmulProblem problem_;
  Plan plan_;
};

/// A checked call, up to the rows that its routes have: on a backend's quantisers, in one block of
/// memory.
class ExpertProducts {
 public:
  /// keeps_sums: those of the first product stay as they are behind a run, for gradients.
  ExpertProducts(const ExpertCall& call, const Backend& backend, const ExecContext& context,
                 bool keeps_sums = false)
      : c_(call), backend_(backend), context_(context), keeps_sums_(keeps_sums) {}

  /// Measures everything; the problems are then known but for addresses.
  Status plan(const char* backend);
  std::size_t bytes() const noexcept;
  /// What experts make of the routed rows, float32 [routes, N], in the block's memory.
  Result<MatrixView> run(char* block);
  /// W13 @ x + b13, float32 [routes, 2 I], of the last run that keeps it.
  const MatrixView& first_sums() const noexcept { return first_sums_; }

  const MatmulProblem& first() const noexcept { return first_.problem(); }
  const MatmulProblem& second() const noexcept { return second_.problem(); }

 private:
  Result<Rows> first_rows(Arena& arena);
  Result<Rows> activate(const MatrixView& h, Arena& arena);
  MatrixView sums(Arena& arena, const ExpertWeights& weights) const noexcept;

  const ExpertCall& c_;
  const Backend& backend_;
  const ExecContext& context_;
  ExpertProduct first_, second_;
  bool keeps_sums_;
  MatrixView first_sums_;
  std::size_t kept_bytes_ = 0, own_bytes_ = 0;
};

}  // namespace octavo
