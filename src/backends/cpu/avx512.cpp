// SPDX-License-Identifier: Apache-2.0
// The AVX-512 backend's row.
#include "backends/cpu/avx512.hpp"

#include <algorithm>

#include "backends/cpu/dot_driver.hpp"
#include "backends/cpu/dot_layout.hpp"
#include "backends/cpu/pack.hpp"
#include "backends/cpu/quantize.hpp"
#include "backends/prologue.hpp"
#include "backends/zero.hpp"
#include "core/error.hpp"
#include "core/grid.hpp"

namespace octavo {
namespace {

const char* unavailable() noexcept {
  return cpu::usable_dot_kernels().empty() ? "this CPU has no AVX-512 F and BW" : nullptr;
}

const char* refuses(const Member& p) noexcept {
  if (!is_integer8(product_dtype(p.a)) || cpu::weight_dtype(p.b) != DType::int8) {
    return "its products are int8 by int8 and uint8 by int8";
  }
  if (varies_along_k(p.b, Side::b) || varies_along_k(p.a, Side::a)) {
    return "a scale that varies along K needs partial sums";
  }
  if (p.a.quantise != nullptr && !p.a.quantise->vectorwise &&
      scale_grid(p.a.quantise->spec.granularity, Side::a).cols != kWholeExtent) {
    return "a scale that varies along K needs partial sums";
  }
  if (p.a.data.shape[1] > cpu::kMostDotDepth) return "sums of more than 65536 products leave int32";
  if (p.b.packed != nullptr && p.b.packed->content()->layout != &cpu::kDotLayout) {
    return "the weight is packed for another backend";
  }
  return nullptr;
}

const char* supports(const MatmulProblem& problem, const ExecContext&) noexcept {
  for (std::int64_t g = 0; g < group_count(problem); ++g) {
    if (const char* why = refuses(member(problem, g)); why != nullptr) return why;
  }
  return nullptr;
}

const cpu::DotKernels& kernels() noexcept { return *cpu::usable_dot_kernels().front(); }

const char* how(const MatmulProblem& problem) noexcept {
  return group_count(problem) == 0 ? "no groups, nothing to multiply" : kernels().how;
}

Status run_members(const MatmulProblem& problem, const ExecContext& context, void* workspace,
                   std::size_t* most) noexcept {
  for (std::int64_t g = 0; g < group_count(problem); ++g) {
    Member part = member(problem, g);
    Arena arena(workspace);
    OCTAVO_TRY(quantise_activations(kAvx512Backend, part, arena, context));
    cpu::run_dot_member(kernels(), part, problem.options, context, arena);
    if (most != nullptr) *most = std::max(*most, arena.used());
  }
  return {};
}

std::size_t workspace_bytes(const MatmulProblem& problem, const ExecContext& context) noexcept {
  std::size_t most = 0;
  (void)run_members(problem, context, nullptr, &most).ok();
  return most;
}

Status run(const MatmulProblem& problem, const ExecContext& context, void* workspace) noexcept {
  OCTAVO_TRY(run_members(problem, context, workspace, nullptr));
  fill_zero(tail(problem));
  return {};
}

}  // namespace

const Backend kAvx512Backend{
    .name = "avx512",
    .summary = "x86-64 with AVX-512: exact dot products of int8, with VNNI where there is one",
    .unavailable = &unavailable,
    .supports = &supports,
    .how = &how,
    .workspace_bytes = &workspace_bytes,
    .run = &run,
    .quantize = &cpu::quantize,
    .vectorwise = &cpu::vectorwise,
    .layout = [](DType dtype) noexcept -> const WeightLayout* {
      return dtype == DType::int8 ? &cpu::kDotLayout : nullptr;
    },
};

}  // namespace octavo
