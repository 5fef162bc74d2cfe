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

/// float32 [rows, 1]: sum over columns of a * b, in float64, rounded once.
Result<Tensor> row_products(const VjpCall& vjp, const MatrixView& a, const MatrixView& b);

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

/// Gradients of the routes' factors, float32 [tokens, slots], from those of rows.
Result<Tensor> factors_by_slot(const ExpertCall& call, const Tensor& rows,
                               const std::int64_t* places, const VjpCall& vjp);

/// The gradient of x, in x's shape: the sum of a token's rows [routes, K] in the order of its
/// slots, times its factors where they are on the input.
Result<Tensor> sum_by_token(const ExpertCall& call, const TensorView& x, const Tensor& rows,
                            const std::int64_t* places, DType dtype, const VjpCall& vjp);

}  // namespace octavo
