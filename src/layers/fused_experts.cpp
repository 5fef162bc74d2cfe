// SPDX-License-Identifier: Apache-2.0
// x -> codes -> by route -> product -> silu_and_mul -> codes -> product -> sums by token.
//
// Memory is one block, measured by the code that uses it:
//   kept   what the activation leaves behind
//   early  x's codes, codes by route, sums of the first product | sums of the second, over them
//   the workspaces of the two products, one over the other
#include <algorithm>
#include <array>
#include <vector>

#include "core/error.hpp"
#include "core/matrix.hpp"
#include "layers/activations.hpp"
#include "layers/fused_experts.hpp"
#include "ops/run.hpp"
#include "ops/scratch.hpp"

namespace octavo {
namespace {

// One of the two products: a member for each touched expert.
class ExpertProduct {
 public:
  // What does not depend on addresses.
  void outline(const Routing& routing, const Rows& rows, const ExpertWeights& weights,
               const TensorView& bias, const MatmulOptions& options) {
    members_.resize(routing.touched.size());
    for (std::size_t i = 0; i < members_.size(); ++i) {
      const TouchedExpert& t = routing.touched[i];
      const PackedWeight& packed = weights[t.expert];
      Member& m = members_[i];
      m.a = octavo::outline(rows, t.rows());
      m.b.packed = &packed;
      std::ranges::copy(packed.content()->scale, m.b.scale.begin());
      if (bias.defined()) m.epilogue.bias = bias[t.expert];
      m.out = matrix_view(nullptr, DType::float32, t.rows(), weights.n(), rows.data.device);
    }
    problem_.operation = kFusedExperts;
    problem_.groups.split = Split::list;
    problem_.groups.list = members_;
    problem_.options = options;
  }
  Status plan(const ExecContext& context, const char* backend) {
    if (members_.empty()) return {};
    OCTAVO_TRY_ASSIGN(plan_, make_plan(problem_, context, backend));
    return {};
  }
  Status run(const Routing& routing, const Rows& rows, const MatrixView& out,
             const ExecContext& context, void* workspace) {
    if (members_.empty()) return {};
    for (std::size_t i = 0; i < members_.size(); ++i) {
      const TouchedExpert& t = routing.touched[i];
      place(rows, t.begin, members_[i].a);
      members_[i].out.data = out.at(t.begin * out.strides[0]);
    }
    return plan_.backend->run(problem_, plan_, context, workspace);
  }
  std::size_t workspace_bytes() const noexcept { return plan_.workspace_bytes; }
  const MatmulProblem& problem() const noexcept { return problem_; }

 private:
  std::vector<Member> members_;
  MatmulProblem problem_;
  Plan plan_;
};

// A checked call on a backend's quantisers and sums.
class Experts {
 public:
  Experts(const ExpertCall& call, const Backend& backend, const ExecContext& context)
      : c_(call), backend_(backend), context_(context) {}

  // Measures everything; the problems are then known but for addresses.
  Status plan(const char* backend) {
    Arena kept(nullptr);
    Arena early(nullptr);
    Arena late(nullptr);
    OCTAVO_TRY_ASSIGN(const Rows rows, first_rows(early));
    OCTAVO_TRY_ASSIGN(const Rows activated, activate(sums(early, *c_.w13), kept));
    (void)sums(late, *c_.w2);
    kept_bytes_ = kept.used();
    own_bytes_ = kept_bytes_ + std::max(early.used(), late.used());
    first_.outline(c_.routing, rows, *c_.w13, c_.bias13, c_.options);
    second_.outline(c_.routing, activated, *c_.w2, c_.bias2, c_.options);
    OCTAVO_TRY(first_.plan(context_, backend));
    return second_.plan(context_, backend);
  }
  std::size_t bytes() const noexcept {
    return own_bytes_ + std::max(first_.workspace_bytes(), second_.workspace_bytes());
  }

  Status run(char* block, const TensorView& out) {
    Arena kept(block);
    Arena early(block + kept_bytes_);
    Arena late(block + kept_bytes_);
    char* const workspace = block + own_bytes_;
    OCTAVO_TRY_ASSIGN(const Rows rows, first_rows(early));
    const MatrixView h = sums(early, *c_.w13);
    OCTAVO_TRY(first_.run(c_.routing, rows, h, context_, workspace));
    OCTAVO_TRY_ASSIGN(const Rows activated, activate(h, kept));
    const MatrixView y = sums(late, *c_.w2);
    OCTAVO_TRY(second_.run(c_.routing, activated, y, context_, workspace));
    return backend_.passes.combine(
        {.rows = y,
         .slots = c_.routing.slots,
         .places = c_.routing.on_device.places,
         .factors = c_.factors_on_input ? nullptr : c_.routing.on_device.factors,
         .out = out,
         .overflow = c_.options.overflow},
        context_);
  }

  const MatmulProblem& first() const noexcept { return first_.problem(); }
  const MatmulProblem& second() const noexcept { return second_.problem(); }

 private:
  static const ActivationQuant* rule_of(const ExpertWeights& w) noexcept {
    return w.activation() ? &*w.activation() : nullptr;
  }

  // The routed rows of x as the first product reads them.
  Result<Rows> first_rows(Arena& arena) {
    const ActivationQuant* rule = rule_of(*c_.w13);
    if (rule != nullptr && !c_.factors_on_input) {
      OCTAVO_TRY_ASSIGN(const Rows codes, quantise(backend_.passes, *rule, c_.x, arena, context_));
      return gather(backend_, codes, c_.routing, arena, context_);
    }
    OCTAVO_TRY_ASSIGN(Rows rows, gather(backend_, {c_.x, {}, {}}, c_.routing, arena, context_));
    if (c_.factors_on_input) {
      OCTAVO_TRY_ASSIGN(rows.data, apply_factors(backend_, rows.data, c_.routing, arena, context_));
    }
    if (rule == nullptr) return rows;
    return quantise(backend_.passes, *rule, rows.data, arena, context_);
  }

  Result<Rows> activate(const MatrixView& h, Arena& arena) {
    Rows activated;
    OCTAVO_TRY(
        backend_.passes.activate({h, rule_of(*c_.w2), c_.x.dtype}, activated, arena, context_));
    return activated;
  }

  MatrixView sums(Arena& arena, const ExpertWeights& weights) const noexcept {
    const std::int64_t rows = c_.routing.rows();
    return matrix_view(arena.take<float>(rows * weights.n()), DType::float32, rows, weights.n(),
                       c_.x.device);
  }

  const ExpertCall& c_;
  const Backend& backend_;
  const ExecContext& context_;
  ExpertProduct first_, second_;
  std::size_t kept_bytes_ = 0, own_bytes_ = 0;
};

Result<Tensor> run_experts(const TensorView& x, const ExpertWeights& w13, const ExpertWeights& w2,
                           const TensorView& weights, const TensorView& ids,
                           const FusedExpertsOptions& o, const ExecContext& context) {
  OCTAVO_TRY(check_device(kFusedExperts, context));
  const ExpertTensors tensors{x, weights, ids};
  OCTAVO_TRY_ASSIGN(ExpertCall call, expert_call(tensors, w13, w2, o, context));
  OCTAVO_TRY_ASSIGN(const FlatOut out, expert_out(call, tensors, o, context));
  OCTAVO_TRY_ASSIGN(const Backend* backend, backend_for(kFusedExperts, x.device, o.backend));
  PinnedExecutor executor(executor_of(context));
  ExecContext pinned = context;
  pinned.executor = &executor;
  OCTAVO_TRY(check_rows(call, *backend, pinned));
  OCTAVO_TRY(send_routes(kFusedExperts, context.place(x.device), call.routing));
  Experts experts(call, *backend, pinned);
  OCTAVO_TRY(experts.plan(o.backend));
  OCTAVO_TRY_ASSIGN(Scratch scratch,
                    find_scratch(kFusedExperts, experts.bytes(), x.device, context));
  const Status status = experts.run(scratch.data, out.rows.view);
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
    OCTAVO_TRY_ASSIGN(const ExpertCall call,
                      expert_call({x, topk_weights, topk_ids}, w13, w2, o, context));
    OCTAVO_TRY_ASSIGN(const Backend* backend, backend_for(kFusedExperts, x.device, o.backend));
    Experts experts(call, *backend, context);
    OCTAVO_TRY(experts.plan(o.backend));
    FusedExpertsExplanation e;
    e.routes = call.routing.rows();
    e.touched = static_cast<std::int64_t>(call.routing.touched.size());
    e.workspace_bytes = experts.bytes();
    e.products = {explain(experts.first(), context, o.backend),
                  explain(experts.second(), context, o.backend)};
    return e;
  });
}

std::string FusedExpertsExplanation::to_string() const {
  return fmt::format("{} rows of {} experts, {} bytes of workspace in all\nby w13\n{}by w2\n{}",
                     routes, touched, workspace_bytes, products[0].to_string(),
                     products[1].to_string());
}

}  // namespace octavo
