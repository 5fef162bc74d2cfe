// SPDX-License-Identifier: Apache-2.0
// The rows of the dot-product backends.
#include "backends/cpu/dot/backends.hpp"

#include <string_view>

#include "backends/cpu/dot/driver.hpp"
#include "backends/cpu/dot/float_layout.hpp"
#include "backends/cpu/dot/int8_layout.hpp"
#include "backends/cpu/dot/machines.hpp"
#include "backends/cpu/dot/tuning.hpp"
#include "backends/cpu/kernels/sve.hpp"
#include "backends/cpu/passes.hpp"
#include "core/cpu_features.hpp"

namespace octavo {
namespace {

using cpu::dot_machine;
using cpu::DotRegisters;

const WeightLayout* layout(DType dtype) noexcept {
  if (dtype == DType::int8) return &cpu::kInt8Layout;
  return cpu::float_layout(dtype);
}

template <const Backend& backend, DotRegisters registers>
const char* plan(const MatmulProblem& problem, int threads, Plan& plan) noexcept {
  return cpu::plan_dot(backend, problem, dot_machine(registers), threads, plan);
}

template <const Backend& backend, DotRegisters registers>
Status run(const MatmulProblem& problem, const Plan& plan, const ExecContext& context,
           void* workspace) noexcept {
  std::size_t used = 0;
  return cpu::run_dot(backend, problem, dot_machine(registers), plan, context, workspace, used);
}

const char* no_avx512() noexcept {
  if (dot_machine(DotRegisters::zmm).integers != nullptr) return nullptr;
  const CpuFeatures& cpu = uncapped_cpu();
  return cpu.avx512f && cpu.avx512bw ? "OCTAVO_ISA leaves AVX-512 out"
                                     : "this CPU has no AVX-512 F and BW";
}

const char* no_avx2() noexcept {
  if (dot_machine(DotRegisters::ymm).integers != nullptr) return nullptr;
  const CpuFeatures& cpu = uncapped_cpu();
  return cpu.avx2 && cpu.fma && cpu.f16c ? "OCTAVO_ISA leaves AVX2 out"
                                         : "this CPU has no AVX2, FMA and F16C";
}

const char* no_sve() noexcept {
  if (dot_machine(DotRegisters::sve).integers != nullptr) return nullptr;
  const CpuFeatures& cpu = uncapped_cpu();
  if (!cpu.sve) return "this CPU has no SVE";
  if (!OCTAVO_SVE) return "this build's compiler knows no SVE of a fixed length";
  if (cpu.sve_256 || cpu.sve_512) return "OCTAVO_ISA leaves SVE out";
  return cpu.sve_128 ? "SVE's vectors have 128 bits here: neon multiplies as fast"
                     : "there are no kernels for SVE's vectors of more than 512 bits";
}

const char* no_neon() noexcept {
  if (dot_machine(DotRegisters::neon).integers != nullptr) return nullptr;
  return "OCTAVO_ISA leaves NEON out";
}

template <DotRegisters registers>
Extensions extensions() noexcept {
  const char* used = dot_machine(registers).name;
  const char* best = cpu::best_dot_machine(registers).name;
  return {used, std::string_view(used) == best ? "" : best, cpu::cache_tuning().family};
}

}  // namespace

const Backend kAvx512Backend{
    .name = "avx512",
    .summary = "x86-64 with AVX-512: dot products of int8 (exact), fp8 and bfloat16",
    .device = DeviceType::cpu,
    .unavailable = &no_avx512,
    .plan = &plan<kAvx512Backend, DotRegisters::zmm>,
    .run = &run<kAvx512Backend, DotRegisters::zmm>,
    .passes = cpu::kPasses,
    .layout = &layout,
    .extensions = &extensions<DotRegisters::zmm>,
};

const Backend kAvx2Backend{
    .name = "avx2",
    .summary = "x86-64 with AVX2: dot products of int8 (exact), floats by FMA",
    .device = DeviceType::cpu,
    .unavailable = &no_avx2,
    .plan = &plan<kAvx2Backend, DotRegisters::ymm>,
    .run = &run<kAvx2Backend, DotRegisters::ymm>,
    .passes = cpu::kPasses,
    .layout = &layout,
    .extensions = &extensions<DotRegisters::ymm>,
};

const Backend kSveBackend{
    .name = "sve",
    .summary = "64-bit Arm with SVE of 256 or 512 bits: what neon does, on longer vectors",
    .device = DeviceType::cpu,
    .unavailable = &no_sve,
    .plan = &plan<kSveBackend, DotRegisters::sve>,
    .run = &run<kSveBackend, DotRegisters::sve>,
    .passes = cpu::kPasses,
    .layout = &layout,
    .extensions = &extensions<DotRegisters::sve>,
};

const Backend kNeonBackend{
    .name = "neon",
    .summary = "64-bit Arm: dot products of int8 (exact), bfloat16 and fp8, other floats by FMA",
    .device = DeviceType::cpu,
    .unavailable = &no_neon,
    .plan = &plan<kNeonBackend, DotRegisters::neon>,
    .run = &run<kNeonBackend, DotRegisters::neon>,
    .passes = cpu::kPasses,
    .layout = &layout,
    .extensions = &extensions<DotRegisters::neon>,
};

}  // namespace octavo
