// SPDX-License-Identifier: Apache-2.0
// The tensors of a line of fused experts, and the same result from separate operations.
#pragma once

#include <cstdint>
#include <vector>

#include "kit/lines/experts_line.hpp"
#include "octavo/moe.hpp"
#include "octavo/problem.hpp"

namespace octavo::kit {

/// Where tokens go. An expert's logit is a Gaussian of its own, the same for all tokens, and one of
/// the token; the largest win, with softmax weights among them: some experts are popular, some have
/// no token.
struct ExpertRouting {
  Tensor ids;      ///< int32 [M, T]
  Tensor weights;  ///< float32 [M, T]

  /// Rows of each expert.
  std::vector<std::int64_t> rows(std::int64_t experts) const;
};
ExpertRouting make_routing(const ExpertsLine& line);

/// Gaussian activations, and weights of quantised Gaussians with scales around 2^-6.
struct ExpertOperands {
  explicit ExpertOperands(const ExpertsLine& line);

  /// Packs weights [experts, N, K]; `set` chooses other ones.
  ExpertWeights pack(std::int64_t n, std::int64_t k, std::uint64_t set, const char* backend) const;

  ExpertsLine line;
  Tensor x;
  ExpertRouting routing;
  Tensor stretch;  ///< of numbers, which serves all weights, each from a place of its own
};

/// fused_experts out of quantize, scaled_mm, silu_and_mul and a float32 sum.
Tensor compose_experts(const ExpertOperands& operands, const ExpertWeights& w13,
                       const ExpertWeights& w2, const char* backend);

/// The members of both products, for what they must do at least (`work_of`): elements as they are
/// multiplied, sums in the output's type. Their memory is not there.
struct ExpertProducts {
  ExpertProducts(const ExpertOperands& operands, const ExpertWeights& w13, const ExpertWeights& w2);
  MatmulProblem problem() const;
  std::vector<Member> members;
};

}  // namespace octavo::kit
