// SPDX-License-Identifier: Apache-2.0
// The gradients of fused_experts and of silu_and_mul.
#include <array>

#include "core/data/matrix.hpp"
#include "core/error.hpp"
#include "layers/expert_gradients.hpp"
#include "ops/run.hpp"

namespace octavo {
namespace {

constexpr const char* kExpertsVjp = "fused_experts_vjp";
constexpr const char* kSiluVjp = "silu_and_mul_vjp";

Result<FusedExpertsGradients> run_experts_vjp(const TensorView& grad, const ExpertTensors& tensors,
                                              const ExpertWeights& w13, const ExpertWeights& w2,
                                              FusedExpertsOptions o,
                                              const FusedExpertsWanted& wanted,
                                              const GradientOptions& options,
                                              const ExecContext& context) {
  o.out = {};
  OCTAVO_TRY(check_device(kExpertsVjp, context));
  OCTAVO_TRY_ASSIGN(ExpertCall call,
                    expert_call(kExpertsVjp, tensors, w13, w2, w13.experts(), o, context));
  OCTAVO_TRY(check_expert_wanted(kExpertsVjp, wanted, o.bias13, o.bias2));
  OCTAVO_TRY(check_expert_grad(call, grad, tensors.x, options));
  OCTAVO_TRY_ASSIGN(const Backend* backend, backend_for(kExpertsVjp, call.x.device, o.backend));
  const VjpCall vjp = vjp_of(call, options, o.backend, *backend, context);
  OCTAVO_TRY(send_routes(kExpertsVjp, vjp.place, call.routing));
  OCTAVO_TRY_ASSIGN(const FlatRows grads, flatten_rows(kExpertsVjp, grad, context));
  const bool on_input = call.factors_on_input;
  OCTAVO_TRY_ASSIGN(
      const RoutedGradients made,
      routed_gradients(call, {grads.view, !on_input}, wanted_of_rows(wanted, on_input), vjp));
  ReturnedGradients returned{made.x, made.factors, {}, call.routing.on_device.places};
  if (on_input && wanted.topk_weights) {
    OCTAVO_TRY_ASSIGN(returned.inputs, by_route(vjp, call.routing, call.x, call.routing.slots));
  }
  FusedExpertsGradients result;
  result.bias13 = made.bias13;
  result.bias2 = made.bias2;
  const DType dtype = gradient_dtype(options, tensors.x.dtype, grad.dtype);
  OCTAVO_TRY(token_gradients(call, returned, tensors.x, wanted, dtype, vjp, result));
  return result;
}

Result<Tensor> run_silu_vjp(const TensorView& grad, const TensorView& x, const char* backend_name,
                            const ExecContext& context) {
  static constexpr ArgNames kNames{.a = "x"};
  const Site site{kSiluVjp, &kNames};
  OCTAVO_TRY(check_device(kSiluVjp, context));
  OCTAVO_TRY(check_float(site, Arg::a, x));
  const std::int64_t last = x.rank > 0 ? x.shape[static_cast<std::size_t>(x.rank - 1)] : 1;
  if (last % 2 != 0) {
    return fail(Code::invalid_argument, "{}: x.shape must be [..., 2 I] (gate, then up); got {}",
                kSiluVjp, shape_string(x));
  }
  std::array<std::int64_t, kMaxRank> shape = x.shape;
  shape[static_cast<std::size_t>(x.rank - 1)] = last / 2;
  OCTAVO_TRY(check_grad(site, grad, std::span(shape.data(), static_cast<std::size_t>(x.rank))));
  OCTAVO_TRY_ASSIGN(const FlatRows grads, flatten_rows(kSiluVjp, grad, context));
  OCTAVO_TRY_ASSIGN(const FlatRows rows, flatten_rows(kSiluVjp, x, context));
  OCTAVO_TRY_ASSIGN(const FlatOut out, flatten_out(site, x, last, x.dtype, {}, context));
  OCTAVO_TRY_ASSIGN(const Backend* backend, backend_for(kSiluVjp, x.device, backend_name));
  OCTAVO_TRY(backend->passes.silu_and_mul_vjp({grads.view, rows.view, out.rows.view}, context));
  OCTAVO_TRY(out.finish(kSiluVjp, context));
  return out.tensor;
}

}  // namespace

FusedExpertsGradients fused_experts_vjp(
    const TensorView& grad, const TensorView& x, const ExpertWeights& w13, const ExpertWeights& w2,
    const TensorView& topk_weights, const TensorView& topk_ids, const FusedExpertsOptions& forward,
    const FusedExpertsWanted& wanted, const GradientOptions& options, const ExecContext& context) {
  return at_edge(kExpertsVjp, [&] {
    return run_experts_vjp(grad, {x, topk_weights, topk_ids}, w13, w2, forward, wanted, options,
                           context);
  });
}

Tensor silu_and_mul_vjp(const TensorView& grad, const TensorView& x, const char* backend,
                        const ExecContext& context) {
  return at_edge(kSiluVjp, [&] { return run_silu_vjp(grad, x, backend, context); });
}

}  // namespace octavo
