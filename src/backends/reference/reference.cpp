// SPDX-License-Identifier: Apache-2.0
// The reference backend's row: accepts every valid problem, and runs it on one thread.
#include "backends/reference/reference.hpp"

#include <algorithm>

#include "backends/host/zero.hpp"
#include "core/error.hpp"
#include "core/fp_env.hpp"
#include "core/problem/members.hpp"

namespace octavo {
namespace {

const char* unavailable() noexcept { return nullptr; }

// Makes A's codes and unpacks B, or reserves room for both.
Status resolve(Member& member, Arena& arena, const ExecContext& context,
               const MatmulOptions& options) noexcept {
  OCTAVO_TRY(reference::quantize_activations(member, options, arena, context));
  if (member.b.packed == nullptr) return {};
  const PackedWeightData& packed = *member.b.packed->content();
  MatrixView& codes = member.b.data;
  codes.dtype = packed.dtype;
  codes.shape = {packed.k, packed.n};
  codes.strides = {1, packed.k};
  codes.data = arena.take<char>(packed.k * packed.n * element_bytes(packed.dtype));
  if (!arena.counting()) OCTAVO_TRY(packed.layout->unpack(packed, codes, context));
  member.b.packed = nullptr;
  return {};
}

std::size_t bytes_of(Member part, const MatmulOptions& options) noexcept {
  Arena arena(nullptr);
  (void)resolve(part, arena, {}, options).ok();
  return arena.used();
}

const char* plan(const MatmulProblem& problem, int, Plan& plan) noexcept {
  plan.how = "the specification's formula, one element at a time, one thread";
  if (has_offsets(problem))
    return nullptr;  // such members quantise no activations and have no packed weights
  Member cut;
  for (std::int64_t g = 0; g < distinct_members(problem); ++g) {
    const std::size_t bytes = bytes_of(member_in(problem, g, cut), problem.options);
    plan.workspace_bytes = std::max(plan.workspace_bytes, bytes);
  }
  return nullptr;
}

Status run(const MatmulProblem& problem, const Plan&, const ExecContext& context,
           void* workspace) noexcept {
  const FloatEnvironment environment;
  for (std::int64_t g = 0; g < group_count(problem); ++g) {
    Member part = member(problem, g);
    Arena arena(workspace);
    OCTAVO_TRY(resolve(part, arena, context, problem.options));
    reference::matmul(part, problem.options);
  }
  fill_zero(tail(problem));
  return {};
}

}  // namespace

constinit const Passes reference::kPasses{
    .convert = &convert,
    .fill = &fill,
    .gather = &gather,
    .map_codes = &map_codes,
    .unswizzle = &unswizzle,
    .check_finite = &check_finite,
    .quantize = &quantize,
    .code_errors = &code_errors,
    .vectorwise = &vectorwise,
    .quantize_activations = &quantize_activations,
    .rescale = &rescale,
    .reduce = &reduce,
    .mask = &mask,
    .learned_step = &learned_step,
    .dequantize_sums = &dequantize_sums,
    .split_zero_points = &split_zero_points,
    .split_sums = &split_sums,
    .silu_and_mul = &silu_and_mul,
    .rms_norm = &rms_norm,
    .rotate = &rotate,
    .quantize_rows = &quantize_rows,
    .attention_scratch = &attention_scratch,
    .attention = &attention,
    .silu_and_mul_vjp = &silu_and_mul_vjp,
    .combine = &combine,
    .activate = &activate,
    .finish = &finish,
};

const Backend kReferenceBackend{
    .name = "reference",
    .summary = "the oracle: specification section 3 element by element, any problem",
    .device = DeviceType::cpu,
    .unavailable = &unavailable,
    .plan = &plan,
    .run = &run,
    .passes = reference::kPasses,
    .layout = [](DType) noexcept -> const WeightLayout* { return nullptr; },
};

}  // namespace octavo
