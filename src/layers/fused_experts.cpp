// SPDX-License-Identifier: Apache-2.0
// The layer: its products, and sums by token.
#include "core/error.hpp"
#include "layers/expert_products.hpp"
#include "ops/run.hpp"
#include "ops/scratch.hpp"

namespace octavo {
namespace {

Status run_and_combine(const ExpertCall& call, ExpertProducts& products, const Backend& backend,
                       const ExecContext& context, const Scratch& scratch, const TensorView& out) {
  OCTAVO_TRY_ASSIGN(const MatrixView rows, products.run(scratch.data));
  return backend.passes.combine(
      {.rows = rows,
       .slots = call.routing.slots,
       .places = call.routing.on_device.places,
       .factors = call.factors_on_input ? nullptr : call.routing.on_device.factors,
       .out = out,
       .overflow = call.options.overflow},
      context);
}

Result<Tensor> run_experts(const TensorView& x, const ExpertWeights& w13, const ExpertWeights& w2,
                           const TensorView& weights, const TensorView& ids,
                           const FusedExpertsOptions& o, const ExecContext& context) {
  OCTAVO_TRY(check_device(kFusedExperts, context));
  const ExpertTensors tensors{x, weights, ids};
  OCTAVO_TRY_ASSIGN(ExpertCall call,
                    expert_call(kFusedExperts, tensors, w13, w2, w13.experts(), o, context));
  OCTAVO_TRY_ASSIGN(const FlatOut out, expert_out(call, tensors, o, context));
  OCTAVO_TRY_ASSIGN(const Backend* backend, backend_for(kFusedExperts, x.device, o.backend));
  PinnedExecutor executor(executor_of(context));
  ExecContext pinned = context;
  pinned.executor = &executor;
  OCTAVO_TRY(check_rows(call, *backend, pinned));
  OCTAVO_TRY(send_routes(kFusedExperts, context.place(x.device), call.routing));
  ExpertProducts products(call, *backend, pinned);
  OCTAVO_TRY(products.plan(o.backend));
  OCTAVO_TRY_ASSIGN(Scratch scratch,
                    find_scratch(kFusedExperts, products.bytes(), x.device, context));
  const Status status = run_and_combine(call, products, *backend, pinned, scratch, out.rows.view);
  keep_scratch(scratch);
  OCTAVO_TRY(status);
  OCTAVO_TRY(out.finish(kFusedExperts, context));
  return out.tensor;
}

}  // namespace

Tensor fused_experts(const TensorView& x, const ExpertWeights& w13, const ExpertWeights& w2,
                     const TensorView& topk_weights, const TensorView& topk_ids,
                     const FusedExpertsOptions& options, const ExecContext& context) {
  return at_edge(kFusedExperts,
                 [&] { return run_experts(x, w13, w2, topk_weights, topk_ids, options, context); });
}

FusedExpertsExplanation explain_fused_experts(const TensorView& x, const ExpertWeights& w13,
                                              const ExpertWeights& w2,
                                              const TensorView& topk_weights,
                                              const TensorView& topk_ids,
                                              const FusedExpertsOptions& o,
                                              const ExecContext& context) {
  return at_edge(kFusedExperts, [&]() -> Result<FusedExpertsExplanation> {
    OCTAVO_TRY_ASSIGN(const ExpertCall call, expert_call(kFusedExperts, {x, topk_weights, topk_ids},
                                                         w13, w2, w13.experts(), o, context));
    OCTAVO_TRY_ASSIGN(const Backend* backend, backend_for(kFusedExperts, x.device, o.backend));
    ExpertProducts products(call, *backend, context);
    OCTAVO_TRY(products.plan(o.backend));
    FusedExpertsExplanation e;
    e.routes = call.routing.rows();
    e.touched = static_cast<std::int64_t>(call.routing.touched.size());
    e.workspace_bytes = products.bytes();
    e.products = {explain(products.first(), context, o.backend),
                  explain(products.second(), context, o.backend)};
    return e;
  });
}

std::string FusedExpertsExplanation::to_string() const {
  return fmt::format("{} rows of {} experts, {} bytes of workspace in all\nby w13\n{}by w2\n{}",
                     routes, touched, workspace_bytes, products[0].to_string(),
                     products[1].to_string());
}

}  // namespace octavo
