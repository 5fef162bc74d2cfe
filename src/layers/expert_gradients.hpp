// SPDX-License-Identifier: Apache-2.0
// Gradients of experts by routed rows, whoever has the tokens.
#pragma once

#include <vector>

#include "layers/fused_experts.hpp"
#include "octavo/gradient.hpp"
#include "ops/gradients/vjp_arguments.hpp"

namespace octavo {

/// What comes back along the routes of a call.
struct RoutedGrad {
  MatrixView grad;     ///< [routes, N], of the rows that are summed by token; a float type
  MatrixView factors;  ///< float32 [routes, 1], of those rows; undefined: 1
};

/// Undefined where not wanted.
struct RoutedGradients {
  Tensor x;              ///< float32 [routes, K], of the rows that w13 multiplied
  Tensor factors;        ///< float32 [routes, 1]: <grad, y>
  Tensor bias13, bias2;  ///< float32 [E, .]
};

/// The gradients of a checked call, whose products run once more.
Result<RoutedGradients> routed_gradients(const ExpertCall& call, const RoutedGrad& routed,
                                         const FusedExpertsWanted& wanted, const VjpCall& vjp);

/// float32 [rows, 1]: sum over columns of a * b, in float64, rounded once.
Result<Tensor> row_products(const VjpCall& vjp, const MatrixView& a, const MatrixView& b);

/// What gradients of a call are computed with.
VjpCall vjp_of(const ExpertCall& call, const GradientOptions& options, const char* backend_name,
               const Backend& backend, const ExecContext& context);

/// Refuses what grad and options cannot be.
Status check_expert_grad(const ExpertCall& call, const TensorView& grad, const TensorView& x,
                         const GradientOptions& options);

/// The sum of a token's rows [routes, K] in the order of its slots, times `factors` where they are
/// given: the gradient of x, in x's shape.
Result<Tensor> sum_by_token(const ExpertCall& call, const TensorView& x, const MatrixView& rows,
                            const std::int64_t* places, const float* factors, DType dtype,
                            const VjpCall& vjp);

}  // namespace octavo
