// SPDX-License-Identifier: Apache-2.0
// The table of machines: which dot-product kernels a CPU has; and how fp8 codes are decoded.
#include <algorithm>
#include <array>
#include <bit>

#include "backends/cpu/dot/machines.hpp"
#include "backends/cpu/kernels/sve.hpp"
#include "core/cpu_features.hpp"

namespace octavo::cpu {

#if defined(__x86_64__)
extern const AmxKernels kAmxDot;
extern const IntegerKernels kAvx512VnniDot;
extern const IntegerKernels kAvx512WordsDot;
extern const IntegerKernels kAvx512BwDot;
extern const Float8Kernels kAvx512Float8Dot;
extern const DotKernels kAvx512Bf16Dot;
extern const DotKernels kAvx512FmaDot;
extern const WideningKernels kAvx512WideningDot;
extern const WideningKernels kAvx512Int8PairsDot;
extern const IntegerKernels kAvxVnniInt8Dot;
extern const IntegerKernels kAvxVnniDot;
extern const IntegerKernels kAvx2WordsDot;
extern const IntegerKernels kAvx2BytesDot;
extern const Float8Kernels kAvx2Float8Dot;
extern const DotKernels kAvx2FmaDot;
extern const WideningKernels kAvx2WideningDot;
#elif defined(__aarch64__)
extern const IntegerKernels kNeonI8mmDot;
extern const IntegerKernels kNeonDotprodDot;
extern const IntegerKernels kNeonInt8Dot;
extern const DotKernels kNeonBf16Mmla;
extern const DotKernels kNeonBf16Dot;
extern const DotKernels kNeonFmaDot;
extern const WideningKernels kNeonWideningDot;
extern const WideningKernels kNeonInt8PairsDot;
#endif
#if OCTAVO_SVE
extern const SveKernels kSve512Dot;
extern const SveKernels kSve256Dot;
#endif

namespace {

struct MachineRow {
  DotRegisters registers;
  DotMachine machine;
  bool (*runs_on)(const CpuFeatures& cpu) noexcept;  // all that its kernels' regions name
};

#if defined(__x86_64__)
// A CPU with AMX; `e4m3` is null without AMX FP8.
constexpr DotMachine amx_machine(const char* name, const DotKernels* e4m3) noexcept {
  return {.name = name,
          .integers = &kAmxDot.integers,
          .float8 = &kAmxDot.float8,
          .pairs = &kAmxDot.pairs,
          .floats = &kAvx512FmaDot,
          .few_rows = &kAvx512VnniDot,
          .few_rows_of_unpacked = 16,
          .beside_floats = &kAvx512WideningDot,
          .beside_pairs = &kAmxDot.beside_pairs,
          .e4m3 = e4m3};
}
// What its kernels' regions name, but for AMX FP8.
bool has_amx(const CpuFeatures& cpu) noexcept {
  return cpu.amx_tile && cpu.amx_int8 && cpu.amx_bf16 && cpu.avx512f && cpu.avx512bw &&
         cpu.avx512_vnni && cpu.avx512_bf16 && cpu.avx512_vbmi;
}
#endif

// Best first. A CPU that lacks what a row needs is one of the rows below it.
constexpr std::array kDotMachines {
#if defined(__x86_64__)
  MachineRow{DotRegisters::zmm,
             amx_machine("AMX FP8, INT8, BF16, AVX-512 BF16, VBMI", &kAmxDot.e4m3),
             [](const CpuFeatures& cpu) noexcept { return cpu.amx_fp8 && has_amx(cpu); }},
      MachineRow{DotRegisters::zmm, amx_machine("AMX INT8, BF16, AVX-512 BF16, VBMI", nullptr),
                 &has_amx},
      MachineRow{DotRegisters::zmm,
                 {.name = "AVX-512 BF16, VBMI, VNNI",
                  .integers = &kAvx512VnniDot,
                  .float8 = &kAvx512Float8Dot,
                  .pairs = &kAvx512Bf16Dot,
                  .floats = &kAvx512FmaDot,
                  .beside_floats = &kAvx512WideningDot,
                  .beside_pairs = &kAvx512Int8PairsDot},
                 [](const CpuFeatures& cpu) noexcept {
                   return cpu.avx512f && cpu.avx512bw && cpu.avx512_vnni && cpu.avx512_bf16 &&
                          cpu.avx512_vbmi;
                 }},
      MachineRow{DotRegisters::zmm,
                 {.name = "AVX-512 BF16, VNNI",
                  .integers = &kAvx512VnniDot,
                  .pairs = &kAvx512Bf16Dot,
                  .floats = &kAvx512FmaDot,
                  .beside_floats = &kAvx512WideningDot},
                 [](const CpuFeatures& cpu) noexcept {
                   return cpu.avx512f && cpu.avx512bw && cpu.avx512_vnni && cpu.avx512_bf16;
                 }},
      MachineRow{DotRegisters::zmm,
                 {.name = "AVX-512 VNNI",
                  .integers = &kAvx512VnniDot,
                  .float8 = &kAvx2Float8Dot,
                  .floats = &kAvx512FmaDot,
                  .beside_floats = &kAvx512WideningDot},
                 [](const CpuFeatures& cpu) noexcept {
                   return cpu.avx512f && cpu.avx512bw && cpu.avx512_vnni && cpu.avx2 && cpu.fma;
                 }},
      MachineRow{DotRegisters::zmm,
                 {.name = "AVX-512 F, BW",
                  .integers = &kAvx512WordsDot,
                  .float8 = &kAvx2Float8Dot,
                  .floats = &kAvx512FmaDot,
                  .few_rows = &kAvx512BwDot,
                  .beside_floats = &kAvx512WideningDot},
                 [](const CpuFeatures& cpu) noexcept {
                   return cpu.avx512f && cpu.avx512bw && cpu.avx2 && cpu.fma;
                 }},
#if defined(OCTAVO_AVX_VNNI_INT8)
      MachineRow{DotRegisters::ymm,
                 {.name = "AVX-VNNI-INT8, AVX2, FMA",
                  .integers = &kAvxVnniInt8Dot,
                  .float8 = &kAvx2Float8Dot,
                  .floats = &kAvx2FmaDot,
                  .beside_floats = &kAvx2WideningDot},
                 [](const CpuFeatures& cpu) noexcept {
                   return cpu.avx_vnni_int8 && cpu.avx2 && cpu.fma && cpu.f16c;
                 }},
#endif
      MachineRow{DotRegisters::ymm,
                 {.name = "AVX-VNNI, AVX2, FMA",
                  .integers = &kAvxVnniDot,
                  .float8 = &kAvx2Float8Dot,
                  .floats = &kAvx2FmaDot,
                  .beside_floats = &kAvx2WideningDot},
                 [](const CpuFeatures& cpu) noexcept {
                   return cpu.avx_vnni && cpu.avx2 && cpu.fma && cpu.f16c;
                 }},
      MachineRow{DotRegisters::ymm,
                 {.name = "AVX2, FMA",
                  .integers = &kAvx2WordsDot,
                  .float8 = &kAvx2Float8Dot,
                  .floats = &kAvx2FmaDot,
                  .few_rows = &kAvx2BytesDot,
                  .beside_floats = &kAvx2WideningDot},
                 [](const CpuFeatures& cpu) noexcept { return cpu.avx2 && cpu.fma && cpu.f16c; }},
#elif defined(__aarch64__)
#if OCTAVO_SVE
  MachineRow{
      DotRegisters::sve,
      {.name = "SVE of 512 bits, BF16, i8mm",
       .integers = &kSve512Dot.smmla,
       .pairs = &kSve512Dot.bfmmla,
       .floats = &kSve512Dot.fmla,
       .few_rows = &kSve512Dot.sdot,
       .few_pairs = &kSve512Dot.bfdot},
      [](const CpuFeatures& cpu) noexcept { return cpu.sve_512 && cpu.sve_i8mm && cpu.sve_bf16; }},
      MachineRow{
          DotRegisters::sve,
          {.name = "SVE of 512 bits", .integers = &kSve512Dot.sdot, .floats = &kSve512Dot.fmla},
          [](const CpuFeatures& cpu) noexcept { return cpu.sve_512; }},
      MachineRow{DotRegisters::sve,
                 {.name = "SVE of 256 bits, BF16, i8mm",
                  .integers = &kSve256Dot.smmla,
                  .pairs = &kSve256Dot.bfmmla,
                  .floats = &kSve256Dot.fmla,
                  .few_rows = &kSve256Dot.sdot,
                  .few_pairs = &kSve256Dot.bfdot,
                  .beside_floats = &kNeonWideningDot,
                  .beside_pairs = &kNeonInt8PairsDot},
                 [](const CpuFeatures& cpu) noexcept {
                   return cpu.sve_256 && cpu.sve_i8mm && cpu.sve_bf16;
                 }},
      MachineRow{DotRegisters::sve,
                 {.name = "SVE of 256 bits",
                  .integers = &kSve256Dot.sdot,
                  .floats = &kSve256Dot.fmla,
                  .beside_floats = &kNeonWideningDot},
                 [](const CpuFeatures& cpu) noexcept { return cpu.sve_256; }},
#endif
      MachineRow{DotRegisters::neon,
                 {.name = "NEON BF16, i8mm, dotprod",
                  .integers = &kNeonI8mmDot,
                  .pairs = &kNeonBf16Mmla,
                  .floats = &kNeonFmaDot,
                  .few_rows = &kNeonDotprodDot,
                  .few_pairs = &kNeonBf16Dot,
                  .beside_floats = &kNeonWideningDot,
                  .beside_pairs = &kNeonInt8PairsDot},
                 [](const CpuFeatures& cpu) noexcept {
                   return cpu.neon && cpu.neon_dotprod && cpu.neon_i8mm && cpu.neon_bf16;
                 }},
      MachineRow{DotRegisters::neon,
                 {.name = "NEON i8mm, dotprod",
                  .integers = &kNeonI8mmDot,
                  .floats = &kNeonFmaDot,
                  .few_rows = &kNeonDotprodDot,
                  .beside_floats = &kNeonWideningDot},
                 [](const CpuFeatures& cpu) noexcept {
                   return cpu.neon && cpu.neon_dotprod && cpu.neon_i8mm;
                 }},
      MachineRow{DotRegisters::neon,
                 {.name = "NEON dotprod",
                  .integers = &kNeonDotprodDot,
                  .floats = &kNeonFmaDot,
                  .beside_floats = &kNeonWideningDot},
                 [](const CpuFeatures& cpu) noexcept { return cpu.neon && cpu.neon_dotprod; }},
      MachineRow{DotRegisters::neon,
                 {.name = "NEON",
                  .integers = &kNeonInt8Dot,
                  .floats = &kNeonFmaDot,
                  .beside_floats = &kNeonWideningDot},
                 [](const CpuFeatures& cpu) noexcept { return cpu.neon; }},
#endif
      MachineRow{DotRegisters::none, {"none"}, [](const CpuFeatures&) noexcept { return true; }},
};

struct Usable {
  std::array<DotMachine, kDotMachines.size()> machines{};
  std::array<DotRegisters, kDotMachines.size()> registers{};
  std::size_t count = 0;
};

const Usable& usable() noexcept {
  static const Usable found = [] {
    Usable all;
    for (const MachineRow& row : kDotMachines) {
      if (!row.runs_on(this_cpu())) continue;
      all.machines[all.count] = row.machine;
      all.registers[all.count++] = row.registers;
    }
    return all;
  }();
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
  table.last_finite = static_cast<std::uint8_t>(F.max_code);
  table.down.fill(static_cast<std::uint16_t>(1 << (15 - F.mantissa_bits)));
  table.kept.fill(static_cast<std::uint16_t>(0x8000 | 0x7F00 >> (1 + F.mantissa_bits)));
  const auto unit = std::bit_cast<float>(static_cast<std::uint32_t>(254 - F.bias) << 23);
  table.unit.fill(unit);
  table.unit_for_rows.fill(unit * Float8Table::kRowsDown);
  return table;
}

}  // namespace

const Float8Table& float8_table(DType dtype) noexcept {
  static constexpr auto kTables =
      by_float8<Float8Table>([]<FloatFormat F>() { return table_of<F>(); });
  return kTables[static_cast<std::size_t>(dtype)];
}

const DotMachine& dot_machine() noexcept { return usable().machines.front(); }

const DotMachine& dot_machine(DotRegisters registers) noexcept {
  const Usable& all = usable();
  std::size_t i = 0;
  while (all.registers[i] != registers && i + 1 < all.count) ++i;
  return all.machines[i];
}

const DotMachine& best_dot_machine(DotRegisters registers) noexcept {
  const CpuFeatures cpu = complete_cpu();
  const auto in_them = [&](const MachineRow& row) {
    return row.registers == registers && row.runs_on(cpu);
  };
  const auto* row = std::ranges::find_if(kDotMachines, in_them);
  return row != kDotMachines.end() ? row->machine : kDotMachines.back().machine;
}

std::span<const DotMachine> usable_dot_machines() noexcept {
  return {usable().machines.data(), usable().count};
}

}  // namespace octavo::cpu
