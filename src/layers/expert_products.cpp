// SPDX-License-Identifier: Apache-2.0
// x -> codes -> by route -> product -> silu_and_mul -> codes -> product.
//
// Memory is one block, measured by the code that uses it:
//   kept   what the activation leaves behind, and sums that are kept
//   early  x's codes, codes by route, sums of the first product | sums of the second, over them
//   the workspaces of the two products, one over the other
#include "layers/expert_products.hpp"

#include <algorithm>

#include "core/data/matrix.hpp"
#include "core/error.hpp"
#include "layers/activations.hpp"
#include "ops/run.hpp"

namespace octavo {
namespace {

const ActivationQuant* rule_of(const ExpertWeights& w) noexcept {
  return w.activation() ? &*w.activation() : nullptr;
}

}  // namespace

void ExpertProduct::outline(const ExpertCall& call, const Rows& rows, const ExpertWeights& weights,
                            const TensorView& bias) {
  members_.resize(call.routing.touched.size());
  for (std::size_t i = 0; i < members_.size(); ++i) {
    const TouchedExpert& t = call.routing.touched[i];
    const PackedWeight& packed = weights[t.expert];
    Member& m = members_[i];
    m.a = octavo::outline(rows, t.rows());
    m.b.packed = &packed;
    std::ranges::copy(packed.content()->scale, m.b.scale.begin());
    if (bias.defined()) m.epilogue.bias = bias[t.expert];
    m.out = matrix_view(nullptr, DType::float32, t.rows(), weights.n(), rows.data.device);
  }
  problem_.operation = call.operation;
  problem_.groups.split = Split::list;
  problem_.groups.list = members_;
  problem_.options = call.options;
}

Status ExpertProduct::plan(const ExecContext& context, const char* backend) {
  if (members_.empty()) return {};
  OCTAVO_TRY_ASSIGN(plan_, make_plan(problem_, context, backend));
  return {};
}

Status ExpertProduct::run(const Routing& routing, const Rows& rows, const MatrixView& out,
                          const ExecContext& context, void* workspace) {
  if (members_.empty()) return {};
  for (std::size_t i = 0; i < members_.size(); ++i) {
    const TouchedExpert& t = routing.touched[i];
    place(rows, t.begin, members_[i].a);
    members_[i].out.data = out.at(t.begin * out.strides[0]);
  }
  return plan_.backend->run(problem_, plan_, context, workspace);
}

Status ExpertProducts::plan(const char* backend) {
  Arena kept(nullptr);
  Arena early(nullptr);
  Arena late(nullptr);
  OCTAVO_TRY_ASSIGN(const Rows rows, first_rows(early));
  const MatrixView h = sums(keeps_sums_ ? kept : early, *c_.w13);
  OCTAVO_TRY_ASSIGN(const Rows activated, activate(h, kept));
  (void)sums(late, *c_.w2);
  kept_bytes_ = kept.used();
  own_bytes_ = kept_bytes_ + std::max(early.used(), late.used());
  first_.outline(c_, rows, *c_.w13, c_.bias13);
  second_.outline(c_, activated, *c_.w2, c_.bias2);
  OCTAVO_TRY(first_.plan(context_, backend));
  return second_.plan(context_, backend);
}

std::size_t ExpertProducts::bytes() const noexcept {
  return own_bytes_ + std::max(first_.workspace_bytes(), second_.workspace_bytes());
}

Result<MatrixView> ExpertProducts::run(char* block) {
  Arena kept(block);
  Arena early(block + kept_bytes_);
  Arena late(block + kept_bytes_);
  char* const workspace = block + own_bytes_;
  OCTAVO_TRY_ASSIGN(const Rows rows, first_rows(early));
  first_sums_ = sums(keeps_sums_ ? kept : early, *c_.w13);
  OCTAVO_TRY(first_.run(c_.routing, rows, first_sums_, context_, workspace));
  OCTAVO_TRY_ASSIGN(const Rows activated, activate(first_sums_, kept));
  const MatrixView y = sums(late, *c_.w2);
  OCTAVO_TRY(second_.run(c_.routing, activated, y, context_, workspace));
  return y;
}

// The routed rows of x as the first product reads them.
Result<Rows> ExpertProducts::first_rows(Arena& arena) {
  if (c_.codes) return gather(backend_, *c_.codes, c_.routing, arena, context_);
  const ActivationQuant* rule = rule_of(*c_.w13);
  if (rule != nullptr && !c_.factors_on_input) {
    OCTAVO_TRY_ASSIGN(const Rows codes, quantize(backend_.passes, *rule, c_.x, arena, context_));
    return gather(backend_, codes, c_.routing, arena, context_);
  }
  OCTAVO_TRY_ASSIGN(Rows rows, gather(backend_, {c_.x, {}, {}}, c_.routing, arena, context_));
  if (c_.factors_on_input) {
    OCTAVO_TRY_ASSIGN(rows.data, apply_factors(backend_, rows.data, c_.routing, arena, context_));
  }
  if (rule == nullptr) return rows;
  return quantize(backend_.passes, *rule, rows.data, arena, context_);
}

Result<Rows> ExpertProducts::activate(const MatrixView& h, Arena& arena) {
  Rows activated;
  OCTAVO_TRY(
      backend_.passes.activate({h, rule_of(*c_.w2), c_.x_dtype}, activated, arena, context_));
  return activated;
}

MatrixView ExpertProducts::sums(Arena& arena, const ExpertWeights& weights) const noexcept {
  const std::int64_t rows = c_.routing.rows();
  return matrix_view(arena.take<float>(rows * weights.n()), DType::float32, rows, weights.n(),
                     c_.x.device);
}

}  // namespace octavo
