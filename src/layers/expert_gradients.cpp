// SPDX-License-Identifier: Apache-2.0
// grad by route -> W2 -> silu_and_mul -> W13 -> sum by token. With r a routed row of expert e:
//
//   d factor_r = <grad_r, y_r>             d b2[e]  = sum over r of factor_r grad_r
//   d a_r = factor_r (grad_r W2[e])        d b13[e] = sum over r of d h_r
//   d h_r = silu_and_mul's, at h_r         d x_r = d h_r W13[e]
#include "layers/expert_gradients.hpp"

#include <array>

#include "core/data/matrix.hpp"
#include "core/error.hpp"
#include "layers/expert_products.hpp"
#include "ops/gradients/reduce.hpp"
#include "ops/product/lower.hpp"
#include "ops/run.hpp"
#include "ops/values.hpp"

namespace octavo {
namespace {

constexpr std::size_t kUnpackedBytes = std::size_t{64} << 20;

// What comes back along the routes of a call.
struct RoutedGrad {
  MatrixView grad;     // [routes, columns]
  MatrixView factors;  // float32 [routes, 1]; undefined: 1
};

ScaleView by_row(const MatrixView& factors) noexcept {
  if (!factors.defined()) return {};
  return {ScaleKind::tensor, 1.0F, factors, 1, kWholeExtent, 0, 0};
}

Result<OperandView> plain_operand(const VjpCall& vjp, const PackedWeight& weight,
                                  std::vector<Tensor>& owned) {
  OCTAVO_TRY_ASSIGN(const Operand plain, plain_weight(vjp, Operand(weight), owned));
  OperandView view(plain.data);
  std::ranges::copy(plain.scale, view.scale.begin());
  if (plain.azp.defined()) view.azp = plain.azp;
  return view;
}

// out[r] = factors[r] * (grad[r] @ W[e]), expert by expert.
Status through_weights(const VjpCall& vjp, const Routing& routing, const ExpertWeights& weights,
                       const RoutedGrad& routed, const MatrixView& out) {
  const auto each =
      static_cast<std::size_t>(weights.k() * weights.n() * element_bytes(weights.dtype()));
  for (std::size_t i = 0; i < routing.touched.size();) {
    std::vector<Tensor> owned;
    std::vector<VjpProduct> products;
    for (std::size_t bytes = each; i < routing.touched.size(); ++i, bytes += each) {
      if (!products.empty() && bytes > kUnpackedBytes) break;
      const TouchedExpert& t = routing.touched[i];
      const auto rows = [&](const MatrixView& all) { return all.slice(0, t.begin, t.end); };
      OCTAVO_TRY_ASSIGN(const OperandView weight, plain_operand(vjp, weights[t.expert], owned));
      VjpProduct& p = products.emplace_back();
      p.grad = rows(routed.grad);
      p.x = weight.transposed();
      if (routed.factors.defined()) p.result = by_row(rows(routed.factors));
      p.out = rows(out);
    }
    OCTAVO_TRY(run_products(vjp, products));
  }
  return {};
}

// Sums over the rows of each expert, [E, columns], rounded once; 0 where it has none.
Result<Tensor> sums_by_expert(const VjpCall& vjp, const Routing& routing, std::int64_t experts,
                              const RoutedGrad& routed) {
  const std::int64_t columns = routed.grad.shape[1];
  const std::array<std::int64_t, 2> shape{experts, columns};
  OCTAVO_TRY_ASSIGN(const Tensor sums,
                    filled(vjp.operation, DType::float64, shape, 0.0F, vjp.place));
  for (const TouchedExpert& t : routing.touched) {
    ReduceProblem p;
    p.factors[0] = routed.grad.slice(0, t.begin, t.end);
    if (routed.factors.defined()) p.weight = by_row(routed.factors.slice(0, t.begin, t.end));
    p.sums = {ScaleKind::tensor,
              1.0F,
              MatrixView(sums.view().slice(0, t.expert, t.expert + 1)),
              kWholeExtent,
              1,
              0,
              0};
    OCTAVO_TRY(sum_cells(vjp.operation, *vjp.on, p, vjp.context));
  }
  return converted(vjp.operation, sums, DType::float32, vjp.context);
}

// float32 [rows, 1]: sum over columns of a * b, in float64, rounded once.
Result<Tensor> row_products(const VjpCall& vjp, const MatrixView& a, const MatrixView& b) {
  const std::array<std::int64_t, 2> shape{a.shape[0], 1};
  OCTAVO_TRY_ASSIGN(const Tensor sums,
                    filled(vjp.operation, DType::float64, shape, 0.0F, vjp.place));
  ReduceProblem p;
  p.factors = {a, b, {}};
  p.sums = {ScaleKind::tensor, 1.0F, MatrixView(sums.view()), 1, kWholeExtent, 0, 0};
  OCTAVO_TRY(sum_cells(vjp.operation, *vjp.on, p, vjp.context));
  return converted(vjp.operation, sums, DType::float32, vjp.context);
}

// Gradients of the routes' factors, float32 [tokens, slots], from those of rows.
Result<Tensor> factors_by_slot(const ExpertCall& call, const Tensor& rows,
                               const std::int64_t* places, const VjpCall& vjp) {
  const Routing& routing = call.routing;
  OCTAVO_TRY_ASSIGN(const Tensor factors,
                    plane(vjp, DType::float32, routing.tokens, routing.slots));
  const MatrixView each =
      matrix_view(factors.data(), DType::float32, factors.numel(), 1, vjp.place.device);
  OCTAVO_TRY(vjp.on->passes.combine({.rows = rows, .slots = 1, .places = places, .out = each},
                                    vjp.context));
  return factors;
}

// The gradient of x from those of rows.
Result<Tensor> sum_by_token(const ExpertCall& call, const TensorView& x, const Tensor& rows,
                            const std::int64_t* places, DType dtype, const VjpCall& vjp) {
  OCTAVO_TRY_ASSIGN(const FlatOut out, flatten_out({call.operation, &kLinearNames}, x,
                                                   call.w13->k(), dtype, {}, vjp.context));
  OCTAVO_TRY(vjp.on->passes.combine(
      {.rows = rows,
       .slots = call.routing.slots,
       .places = places,
       .factors = call.factors_on_input ? call.routing.on_device.factors : nullptr,
       .out = out.rows.view,
       .overflow = Overflow::ieee},
      vjp.context));
  OCTAVO_TRY(out.finish(call.operation, vjp.context));
  return out.tensor;
}

// Gradients of rotated rows, float32, as those of the rows.
Status turn_back(const VjpCall& vjp, const ExpertWeights& weights, const Tensor& rows) {
  const auto& rule = weights.activation();
  if (!rule || rule->rotation == 0) return {};
  return vjp.on->passes.rotate({rows, rule->rotation, rows}, vjp.context);
}

}  // namespace

Result<Tensor> by_route(const VjpCall& vjp, const Routing& routing, const MatrixView& from,
                        std::int64_t divisor) {
  OCTAVO_TRY_ASSIGN(const Tensor rows, plane(vjp, from.dtype, routing.rows(), from.shape[1]));
  OCTAVO_TRY(vjp.on->passes.gather({from, routing.on_device.routes, divisor, rows}, vjp.context));
  return rows;
}

Result<RoutedGradients> routed_gradients(const ExpertCall& call, const TokenGrads& grads,
                                         const FusedExpertsWanted& wanted, const VjpCall& vjp) {
  const Routing& routing = call.routing;
  OCTAVO_TRY_ASSIGN(const Tensor rows_of_grad, by_route(vjp, routing, grads.grad, routing.slots));
  RoutedGrad routed{rows_of_grad, {}};
  Tensor factors;
  if (grads.factors) {
    const MatrixView all =
        matrix_view(const_cast<float*>(routing.on_device.factors),  // NOLINT: only read
                    DType::float32, routing.tokens * routing.slots, 1, vjp.place.device);
    OCTAVO_TRY_ASSIGN(factors, by_route(vjp, routing, all, 1));
    routed.factors = factors;
  }
  const std::int64_t experts = call.w13->experts();
  RoutedGradients result;
  if (wanted.bias2) {
    OCTAVO_TRY_ASSIGN(result.bias2, sums_by_expert(vjp, routing, experts, routed));
  }
  if (!wanted.x && !wanted.topk_weights && !wanted.bias13) return result;
  ExpertProducts products(call, *vjp.on, vjp.context, true);
  OCTAVO_TRY(products.plan(vjp.backend));
  OCTAVO_TRY_ASSIGN(const Tensor block,
                    plane(vjp, DType::uint8, 1, static_cast<std::int64_t>(products.bytes()) + 1));
  OCTAVO_TRY_ASSIGN(const MatrixView y, products.run(static_cast<char*>(block.data())));
  if (wanted.topk_weights) {
    OCTAVO_TRY_ASSIGN(result.factors, row_products(vjp, routed.grad, y));
  }
  if (!wanted.x && !wanted.bias13) return result;
  const std::int64_t rows = routing.rows();
  OCTAVO_TRY_ASSIGN(const Tensor grad_a, plane(vjp, DType::float32, rows, call.w2->k()));
  OCTAVO_TRY(through_weights(vjp, routing, *call.w2, routed, grad_a));
  OCTAVO_TRY(turn_back(vjp, *call.w2, grad_a));
  OCTAVO_TRY_ASSIGN(const Tensor grad_h, plane(vjp, DType::float32, rows, call.w13->n()));
  OCTAVO_TRY(vjp.on->passes.silu_and_mul_vjp({grad_a, products.first_sums(), grad_h}, vjp.context));
  const RoutedGrad of_h{grad_h, {}};
  if (wanted.bias13) {
    OCTAVO_TRY_ASSIGN(result.bias13, sums_by_expert(vjp, routing, experts, of_h));
  }
  if (!wanted.x) return result;
  OCTAVO_TRY_ASSIGN(result.x, plane(vjp, DType::float32, rows, call.w13->k()));
  OCTAVO_TRY(through_weights(vjp, routing, *call.w13, of_h, result.x));
  OCTAVO_TRY(turn_back(vjp, *call.w13, result.x));
  return result;
}

VjpCall vjp_of(const ExpertCall& call, const GradientOptions& options, const char* backend_name,
               const Backend& backend, const ExecContext& context) {
  VjpCall vjp{{call.operation, context.place(call.x.device)},
              call.options,
              options.float32,
              true,
              context,
              backend_name,
              &backend};
  vjp.context.workspace = nullptr;  // made for one product
  vjp.matmul.k_chunks = 0;          // those of another K
  return vjp;
}

Status check_expert_grad(const ExpertCall& call, const TensorView& grad, const TensorView& x,
                         const GradientOptions& options) {
  OCTAVO_TRY(check_gradient_options(call.operation, options));
  if (!is_wide(call.out_dtype)) {
    return fail(Code::unsupported,
                "{}: out_dtype must be float32, bfloat16 or float16 where gradients are wanted; "
                "got {}",
                call.operation, name(call.out_dtype));
  }
  std::array<std::int64_t, kMaxRank> shape = x.shape;
  shape[static_cast<std::size_t>(x.rank - 1)] = call.w2->n();
  return check_grad({call.operation, &kLinearNames}, grad,
                    std::span(shape.data(), static_cast<std::size_t>(x.rank)));
}

Status check_expert_wanted(const char* operation, const FusedExpertsWanted& wanted,
                           const TensorView& bias13, const TensorView& bias2) {
  const std::pair<bool, const char*> missing[] = {{wanted.bias13 && !bias13.defined(), "bias13"},
                                                  {wanted.bias2 && !bias2.defined(), "bias2"}};
  for (const auto& [is, bias] : missing) {
    if (!is) continue;
    return fail(Code::invalid_argument,
                "{}: {} must be given where its gradient is wanted; got none", operation, bias);
  }
  return {};
}

FusedExpertsWanted wanted_of_rows(FusedExpertsWanted wanted, bool factors_on_input) noexcept {
  if (factors_on_input) {
    wanted.x = wanted.x || wanted.topk_weights;
    wanted.topk_weights = false;
  }
  return wanted;
}

Status token_gradients(const ExpertCall& call, const ReturnedGradients& returned,
                       const TensorView& x, const FusedExpertsWanted& wanted, DType dtype,
                       const VjpCall& vjp, FusedExpertsGradients& result) {
  if (wanted.topk_weights) {
    Tensor factors = returned.factors;
    if (call.factors_on_input) {  // of factor * x
      OCTAVO_TRY_ASSIGN(factors, row_products(vjp, returned.inputs, returned.x));
    }
    OCTAVO_TRY_ASSIGN(result.topk_weights, factors_by_slot(call, factors, returned.places, vjp));
  }
  if (wanted.x) {
    OCTAVO_TRY_ASSIGN(result.x, sum_by_token(call, x, returned.x, returned.places, dtype, vjp));
  }
  return {};
}

}  // namespace octavo
