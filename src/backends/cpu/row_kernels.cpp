// SPDX-License-Identifier: Apache-2.0
// The table of instruction sets and what each needs.
#include "backends/cpu/row_kernels.hpp"

#include <array>

#include "core/cpu_features.hpp"

namespace octavo::cpu {
namespace {

struct KernelsRow {
  const Kernels* kernel;
  bool (*runs_on)(const CpuFeatures& cpu) noexcept;  // all that its region names
};

// Best first.
constexpr std::array kRows {
#if defined(__x86_64__)
  KernelsRow{&kAvx512Bf16Kernels,
             [](const CpuFeatures& cpu) noexcept {
               return cpu.avx512f && cpu.avx512bw && cpu.avx512dq && cpu.avx512vl &&
                      cpu.avx512_bf16 && cpu.avx512_vbmi && cpu.avx512_vnni;
             }},
      KernelsRow{&kAvx512Kernels,
                 [](const CpuFeatures& cpu) noexcept { return cpu.avx512f && cpu.avx512bw; }},
      KernelsRow{&kAvx2Kernels, [](const CpuFeatures& cpu) noexcept { return cpu.avx2; }},
#endif
      KernelsRow{&kBaselineKernels, [](const CpuFeatures&) noexcept { return true; }},
};

struct Usable {
  std::array<const Kernels*, kRows.size()> kernels{};
  std::size_t count = 0;
};

Usable find_usable() noexcept {
  Usable usable;
  for (const KernelsRow& row : kRows) {
    if (row.runs_on(this_cpu())) usable.kernels[usable.count++] = row.kernel;
  }
  return usable;
}

}  // namespace

std::span<const Kernels* const> usable_kernels() noexcept {
  static const Usable usable = find_usable();
  return {usable.kernels.data(), usable.count};
}

}  // namespace octavo::cpu
