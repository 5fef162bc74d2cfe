// SPDX-License-Identifier: Apache-2.0
// The generic backend's row.
#include "backends/cpu/generic.hpp"

#include "backends/cpu/driver.hpp"
#include "backends/cpu/kernels.hpp"
#include "backends/cpu/members.hpp"
#include "backends/cpu/pack.hpp"
#include "backends/cpu/quantize.hpp"
#include "backends/prologue.hpp"

namespace octavo {
namespace {

const char* unavailable() noexcept { return nullptr; }

const char* supports(const MatmulProblem& problem, const ExecContext&) noexcept {
  for (std::int64_t g = 0; g < group_count(problem); ++g) {
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

std::size_t workspace_bytes(const MatmulProblem& problem, const ExecContext& context) noexcept {
  return cpu::measure_members(kGenericBackend, &cpu::run_member, problem, context);
}

Status run(const MatmulProblem& problem, const ExecContext& context, void* workspace) noexcept {
  return cpu::run_all(kGenericBackend, &cpu::run_member, problem, context, workspace);
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
    .layout = [](DType) noexcept { return &cpu::kElementLayout; },
};

}  // namespace octavo
