// SPDX-License-Identifier: Apache-2.0
// The table of int8 dot-product kernels and what each needs.
#include <array>

#include "backends/cpu/kernels/int8.hpp"
#include "core/cpu_features.hpp"

namespace octavo::cpu {
namespace {

struct Usable {
  std::array<const DotKernels*, 2> kernels{};
  std::size_t count = 0;
};

Usable find_usable() noexcept {
  Usable usable;
#if defined(__x86_64__)
  const CpuFeatures& cpu = this_cpu();
  const bool words = cpu.avx512f && cpu.avx512bw;
  if (words && cpu.avx512_vnni) usable.kernels[usable.count++] = &kAvx512VnniDot;
  if (words) usable.kernels[usable.count++] = &kAvx512BwDot;
#endif
  return usable;
}

}  // namespace

std::span<const DotKernels* const> usable_dot_kernels() noexcept {
  static const Usable usable = find_usable();
  return {usable.kernels.data(), usable.count};
}

}  // namespace octavo::cpu
