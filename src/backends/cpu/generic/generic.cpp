// SPDX-License-Identifier: Apache-2.0
// The generic backend's row.
#include "backends/cpu/generic/generic.hpp"

#include <algorithm>

#include "backends/arena.hpp"
#include "backends/cpu/generic/driver.hpp"
#include "backends/cpu/generic/element_layout.hpp"
#include "backends/cpu/passes.hpp"
#include "backends/cpu/row_kernels.hpp"
#include "backends/host/zero.hpp"
#include "core/error.hpp"
#include "core/problem/members.hpp"
#include "core/problem/operand.hpp"
#include "core/threads/parallel.hpp"

namespace octavo {
namespace {

const char* unavailable() noexcept { return nullptr; }

const char* how(const Member& first) noexcept {
  const bool integer = is_integer8(product_dtype(first.a)) && is_integer8(weight_dtype(first.b));
  const cpu::Kernels& kernel = cpu::best_kernels();
  return integer ? kernel.on_integers : kernel.on_floats;
}

// One member behind the quantiser of its activations; over no workspace it only measures.
Status run_one(Member part, const MatmulOptions& options, const ExecContext& context,
               Arena& arena) noexcept {
  OCTAVO_TRY(cpu::kPasses.quantize_activations(part, options, arena, context));
  cpu::run_member(part, options, context, arena);
  return {};
}

const char* plan(const MatmulProblem& problem, int threads, Plan& plan) noexcept {
  if (group_count(problem) == 0) {
    plan.how = "no groups, nothing to multiply";
    return nullptr;
  }
  PinnedExecutor executor(serial_executor(), threads);
  Member cut;
  for (std::int64_t g = 0; g < distinct_members(problem); ++g) {
    const Member& part = planned_member(problem, g, cut);
    if (g == 0) plan.how = how(part);
    const PackedWeight* packed = part.b.packed;
    if (packed != nullptr && packed->content()->layout->widen == nullptr) {
      return "the weight is packed for a device";
    }
    Arena arena(nullptr);
    (void)run_one(part, problem.options, {.executor = &executor}, arena).ok();
    plan.workspace_bytes = std::max(plan.workspace_bytes, arena.used());
  }
  return nullptr;
}

// The members one after the other, each with the whole workspace.
Status run(const MatmulProblem& problem, const Plan&, const ExecContext& context,
           void* workspace) noexcept {
  for (std::int64_t g = 0; g < group_count(problem); ++g) {
    Arena arena(workspace);
    OCTAVO_TRY(run_one(member(problem, g), problem.options, context, arena));
  }
  fill_zero(tail(problem));
  return {};
}

}  // namespace

const Backend kGenericBackend{
    .name = "generic",
    .summary =
        "any CPU: every type widened to float32, blocked, threaded, the widest vectors there are",
    .device = DeviceType::cpu,
    .unavailable = &unavailable,
    .plan = &plan,
    .run = &run,
    .passes = cpu::kPasses,
    .layout = [](DType) noexcept { return &cpu::kElementLayout; },
};

}  // namespace octavo
