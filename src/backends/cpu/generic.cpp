// SPDX-License-Identifier: Apache-2.0
// The generic backend's row.
#include "backends/cpu/generic.hpp"

#include <algorithm>

#include "backends/arena.hpp"
#include "backends/cpu/driver.hpp"
#include "backends/cpu/experts.hpp"
#include "backends/cpu/gradient.hpp"
#include "backends/cpu/kernels.hpp"
#include "backends/cpu/pack.hpp"
#include "backends/cpu/quantize.hpp"
#include "backends/prologue.hpp"
#include "backends/zero.hpp"
#include "core/error.hpp"
#include "core/members.hpp"

namespace octavo {
namespace {

const char* unavailable() noexcept { return nullptr; }

const char* supports(const MatmulProblem& problem, const ExecContext&) noexcept {
  for (std::int64_t g = 0; g < distinct_members(problem); ++g) {
    const PackedWeight* packed = member(problem, g).b.packed;
    if (packed != nullptr && packed->content()->layout->widen == nullptr) {
      return "the weight is packed for a device";
    }
  }
  return nullptr;
}

const char* how(const MatmulProblem& problem) noexcept {
  if (group_count(problem) == 0) return "no groups, nothing to multiply";
  const Member first = member(problem, 0);
  const bool integer =
      is_integer8(product_dtype(first.a)) && is_integer8(cpu::weight_dtype(first.b));
  const cpu::Kernels& kernel = cpu::best_kernels();
  return integer ? kernel.on_integers : kernel.on_floats;
}

// The members one after the other, each with the whole workspace, behind the prologue of its
// activations; over no workspace it only measures. `most`: the bytes that the hungriest one took.
Status run_members(const MatmulProblem& problem, const ExecContext& context, void* workspace,
                   std::size_t& most) noexcept {
  for (std::int64_t g = 0; g < group_count(problem); ++g) {
    Member part = member(problem, g);
    Arena arena(workspace);
    OCTAVO_TRY(quantise_activations(kGenericBackend, part, arena, context, problem.options));
    cpu::run_member(part, problem.options, context, arena);
    most = std::max(most, arena.used());
  }
  return {};
}

std::size_t workspace_bytes(const MatmulProblem& problem, const ExecContext& context) noexcept {
  std::size_t most = 0;
  (void)run_members(problem, context, nullptr, most).ok();
  return most;
}

Status run(const MatmulProblem& problem, const ExecContext& context, void* workspace) noexcept {
  std::size_t most = 0;
  OCTAVO_TRY(run_members(problem, context, workspace, most));
  fill_zero(tail(problem));
  return {};
}

}  // namespace

const Backend kGenericBackend{
    .name = "generic",
    .summary =
        "any CPU: every type widened to float32, blocked, threaded, the widest vectors there are",
    .unavailable = &unavailable,
    .supports = &supports,
    .how = &how,
    .workspace_bytes = &workspace_bytes,
    .run = &run,
    .quantize = &cpu::quantize,
    .vectorwise = &cpu::vectorwise,
    .rescale = &cpu::rescale,
    .reduce = &cpu::reduce,
    .silu_and_mul = &cpu::silu_and_mul,
    .combine = &cpu::combine,
    .layout = [](DType) noexcept { return &cpu::kElementLayout; },
};

}  // namespace octavo
