// SPDX-License-Identifier: Apache-2.0
// The AVX-512 backend's row.
#include "backends/cpu/avx512.hpp"

#include "backends/cpu/dot_driver.hpp"
#include "backends/cpu/dot_layout.hpp"
#include "backends/cpu/members.hpp"
#include "backends/cpu/pack.hpp"
#include "backends/cpu/quantize.hpp"
#include "backends/prologue.hpp"
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

void run_one(const Member& p, const MatmulOptions& options, const ExecContext& context,
             Arena& arena) noexcept {
  cpu::run_dot_member(kernels(), p, options, context, arena);
}

std::size_t workspace_bytes(const MatmulProblem& problem, const ExecContext& context) noexcept {
  return cpu::measure_members(kAvx512Backend, &run_one, problem, context);
}

Status run(const MatmulProblem& problem, const ExecContext& context, void* workspace) noexcept {
  return cpu::run_all(kAvx512Backend, &run_one, problem, context, workspace);
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
