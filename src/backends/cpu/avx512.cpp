// SPDX-License-Identifier: Apache-2.0
// The AVX-512 backend's row.
#include "backends/cpu/avx512.hpp"

#include "backends/cpu/dot_driver.hpp"
#include "backends/cpu/experts.hpp"
#include "backends/cpu/float_layout.hpp"
#include "backends/cpu/gradient.hpp"
#include "backends/cpu/int8_layout.hpp"
#include "backends/cpu/quantize.hpp"

namespace octavo {
namespace {

const char* unavailable() noexcept {
  return cpu::dot_machine().integers == nullptr ? "this CPU has no AVX-512 F and BW" : nullptr;
}

const char* supports(const MatmulProblem& problem, const ExecContext&) noexcept {
  return cpu::refuse_dot(problem, cpu::dot_machine());
}

const char* how(const MatmulProblem& problem) noexcept {
  return cpu::how_dot(problem, cpu::dot_machine());
}

std::size_t workspace_bytes(const MatmulProblem& problem, const ExecContext& context) noexcept {
  std::size_t bytes = 0;
  (void)cpu::measure_dot(kAvx512Backend, problem, cpu::dot_machine(), context, bytes).ok();
  return bytes;
}

Status run(const MatmulProblem& problem, const ExecContext& context, void* workspace) noexcept {
  std::size_t used = 0;
  return cpu::run_dot(kAvx512Backend, problem, cpu::dot_machine(), context, workspace, used);
}

const WeightLayout* layout(DType dtype) noexcept {
  if (dtype == DType::int8) return &cpu::kInt8Layout;
  return cpu::float_form(dtype) != nullptr ? &cpu::kFloatLayout : nullptr;
}

bool flushes(const MatmulProblem& problem) noexcept {
  return cpu::flushes_dot(problem, cpu::dot_machine());
}

}  // namespace

const Backend kAvx512Backend{
    .name = "avx512",
    .summary = "x86-64 with AVX-512: dot products of int8 (exact), fp8 and bfloat16",
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
    .layout = &layout,
    .flushes = &flushes,
};

}  // namespace octavo
