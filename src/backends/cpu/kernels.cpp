// SPDX-License-Identifier: Apache-2.0
// The table of instruction sets and what each needs.
#include "backends/cpu/kernels.hpp"

#include <array>

#include "core/cpu_features.hpp"

namespace octavo::cpu {
namespace {

struct Row {
  const Kernels* kernel;
  bool CpuFeatures::*needs;  // null: nothing
};

// Best first.
constexpr std::array kRows {
#if defined(__x86_64__)
  Row{&kAvx512Bf16Kernels, &CpuFeatures::avx512_bf16}, Row{&kAvx512Kernels, &CpuFeatures::avx512bw},
      Row{&kAvx2Kernels, &CpuFeatures::avx2},
#endif
      Row{&kBaselineKernels, nullptr},
};

struct Usable {
  std::array<const Kernels*, kRows.size()> kernels{};
  std::size_t count = 0;
};

Usable find_usable() noexcept {
  Usable usable;
  for (const Row& row : kRows) {
    if (row.needs == nullptr || this_cpu().*row.needs) usable.kernels[usable.count++] = row.kernel;
  }
  return usable;
}

}  // namespace

std::span<const Kernels* const> usable_kernels() noexcept {
  static const Usable usable = find_usable();
  return {usable.kernels.data(), usable.count};
}

}  // namespace octavo::cpu
