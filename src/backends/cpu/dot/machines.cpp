// SPDX-License-Identifier: Apache-2.0
// The tables of dot-product kernels: what each needs, and how fp8 codes are decoded.
#include <array>
#include <bit>

#include "backends/cpu/kernels/dot.hpp"
#include "core/cpu_features.hpp"

namespace octavo::cpu {
namespace {

struct Usable {
  std::array<const IntegerKernels*, 2> integers{};
  std::size_t integer_count = 0;
  DotMachine machine;
};

Usable find_usable() noexcept {
  Usable usable;
#if defined(__x86_64__)
  const CpuFeatures& cpu = this_cpu();
  if (!cpu.avx512f || !cpu.avx512bw) return usable;
  if (cpu.avx512_vnni) usable.integers[usable.integer_count++] = &kAvx512VnniDot;
  usable.integers[usable.integer_count++] = &kAvx512BwDot;
  usable.machine.integers = usable.integers.front();
  usable.machine.floats = &kAvx512FmaDot;
  if (cpu.avx512_bf16) {
    usable.machine.pairs = &kAvx512Bf16Dot;
    if (cpu.avx512_vbmi) usable.machine.float8 = &kAvx512Float8Dot;
  }
#endif
  return usable;
}

const Usable& usable() noexcept {
  static const Usable found = find_usable();
  return found;
}

template <FloatFormat F>
constexpr Float8Table table_of() noexcept {
  Float8Table table{};
  for (std::uint32_t code = 0; code < 128; ++code) {
    const auto bits = std::bit_cast<std::uint32_t>(decode<F>(code));
    table.low[code] = static_cast<std::uint8_t>(bits >> 16 & 0xFFU);
    table.high[code] = static_cast<std::uint8_t>(bits >> 24);
  }
  table.negative_zero_is_nan = decode<F>(0x80U) != decode<F>(0x80U);
  return table;
}

}  // namespace

const Float8Table& float8_table(DType dtype) noexcept {
  static constexpr auto kTables =
      by_float8<Float8Table>([]<FloatFormat F>() { return table_of<F>(); });
  return kTables[static_cast<std::size_t>(dtype)];
}

const DotMachine& dot_machine() noexcept { return usable().machine; }

std::span<const IntegerKernels* const> usable_integer_kernels() noexcept {
  return {usable().integers.data(), usable().integer_count};
}

}  // namespace octavo::cpu
