// SPDX-License-Identifier: Apache-2.0
// Gradients of experts by routed rows, whoever has the tokens.
#pragma once

#include <vector>

#include "layers/fused_experts.hpp"
#include "octavo/gradient.hpp"
#include "ops/gradients/vjp_arguments.hpp"

namespace octavo {

/// Rows of grad by the tokens of a call's routing.
struct TokenGrads {
  MatrixView grad;       ///< [tokens, N], a float type
  bool factors = false;  ///< the routing's factors multiply them
};

/// Undefined where not wanted.
struct RoutedGradients {
  Tensor x;              ///< float32 [routes, K], of the rows that w13 multiplied
  Tensor factors;        ///< float32 [routes, 1]: <grad, y>
  Tensor bias13, bias2;  ///< float32 [E, .]
};

/// The gradients of a checked call, whose products run once more.
Result<RoutedGradients> routed_gradients(const ExpertCall& call, const TokenGrads& grads,
                                         const FusedExpertsWanted& wanted, const VjpCall& vjp);

/// Rows by route of a matrix by token (`divisor` slots) or by route and slot (1).
Result<Tensor> by_route(const VjpCall& vjp, const Routing& routing, const MatrixView& from,
                        std::int64_t divisor);

/// What gradients of a call are computed with.
VjpCall vjp_of(const ExpertCall& call, const GradientOptions& options, const char* backend_name,
               const Backend& backend, const ExecContext& context);

/// Refuses what grad and options cannot be.
Status check_expert_grad(const ExpertCall& call, const TensorView& grad, const TensorView& x,
                         const GradientOptions& options);
/// Refuses gradients of biases that are not there.
Status check_expert_wanted(const char* operation, const FusedExpertsWanted& wanted,
                           const TensorView& bias13, const TensorView& bias2);

/// What is wanted of routed rows: where factors are on the input, theirs follow from x's.
FusedExpertsWanted wanted_of_rows(FusedExpertsWanted wanted, bool factors_on_input) noexcept;

/// Gradients by route, and where the routes of tokens' slots are among them.
struct ReturnedGradients {
  Tensor x;        ///< float32 [routes, K]
  Tensor factors;  ///< float32 [routes, 1]; undefined where factors are on the input
  Tensor inputs;   ///< [routes, K], the rows of x, where factors are on the input and wanted
  const std::int64_t* places;  ///< [tokens, slots]
};

/// Of the wanted ones: the gradient of the factors, float32 [tokens, slots], and that of x, in x's
/// shape: the sum of a token's rows in the order of its slots, times its factors where they are on
/// the input.
Status token_gradients(const ExpertCall& call, const ReturnedGradients& returned,
                       const TensorView& x, const FusedExpertsWanted& wanted, DType dtype,
                       const VjpCall& vjp, FusedExpertsGradients& result);

}  // namespace octavo
