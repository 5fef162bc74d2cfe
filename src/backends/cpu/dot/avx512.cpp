// SPDX-License-Identifier: Apache-2.0
// The AVX-512 backend's row.
#include "backends/cpu/dot/avx512.hpp"

#include "backends/cpu/dot/driver.hpp"
#include "backends/cpu/dot/float_layout.hpp"
#include "backends/cpu/dot/int8_layout.hpp"
#include "backends/cpu/passes.hpp"

namespace octavo {
namespace {

const char* unavailable() noexcept {
  return cpu::dot_machine().integers == nullptr ? "this CPU has no AVX-512 F and BW" : nullptr;
}

const char* plan(const MatmulProblem& problem, int threads, Plan& plan) noexcept {
  return cpu::plan_dot(kAvx512Backend, problem, cpu::dot_machine(), threads, plan);
}

Status run(const MatmulProblem& problem, const Plan& plan, const ExecContext& context,
           void* workspace) noexcept {
  std::size_t used = 0;
  return cpu::run_dot(kAvx512Backend, problem, cpu::dot_machine(), plan, context, workspace, used);
}

const WeightLayout* layout(DType dtype) noexcept {
  if (dtype == DType::int8) return &cpu::kInt8Layout;
  return cpu::float_layout(dtype);
}

}  // namespace

const Backend kAvx512Backend{
    .name = "avx512",
    .summary = "x86-64 with AVX-512: dot products of int8 (exact), fp8 and bfloat16",
    .device = DeviceType::cpu,
    .unavailable = &unavailable,
    .plan = &plan,
    .run = &run,
    .passes = cpu::kPasses,
    .layout = &layout,
};

}  // namespace octavo
