// SPDX-License-Identifier: Apache-2.0
// CPU detection: CPUID and XGETBV on x86-64, the auxiliary vector on Arm.
#include "core/cpu_features.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "core/env.hpp"
#include "octavo/backend.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace octavo {
namespace {

// Instruction sets by which OCTAVO_ISA caps what is used, the least first. Each has all features of
// those before it.
constexpr std::array kIsas {
#if defined(__x86_64__)
  std::string_view("baseline"), std::string_view("avx2"), std::string_view("avx_vnni"),
      std::string_view("avx_vnni_int8"), std::string_view("avx512"),
      std::string_view("avx512_vnni"), std::string_view("avx512_bf16"), std::string_view("amx"),
#elif defined(__aarch64__)
  std::string_view("baseline"), std::string_view("neon"), std::string_view("neon_dotprod"),
      std::string_view("neon_i8mm"), std::string_view("neon_bf16"), std::string_view("sve"),
#else
  std::string_view("baseline"),
#endif
};

struct FeatureRow {
  const char* name;
  bool CpuFeatures::*flag;
  std::string_view isa;  // the first one that has it
};

constexpr std::array<FeatureRow, 28> kFeatures{{
    {"sse4_1", &CpuFeatures::sse4_1, "avx2"},
    {"avx2", &CpuFeatures::avx2, "avx2"},
    {"fma", &CpuFeatures::fma, "avx2"},
    {"f16c", &CpuFeatures::f16c, "avx2"},
    {"avx_vnni", &CpuFeatures::avx_vnni, "avx_vnni"},
    {"avx_vnni_int8", &CpuFeatures::avx_vnni_int8, "avx_vnni_int8"},
    {"avx512f", &CpuFeatures::avx512f, "avx512"},
    {"avx512bw", &CpuFeatures::avx512bw, "avx512"},
    {"avx512vl", &CpuFeatures::avx512vl, "avx512"},
    {"avx512dq", &CpuFeatures::avx512dq, "avx512"},
    {"avx512_vnni", &CpuFeatures::avx512_vnni, "avx512_vnni"},
    {"avx512_bf16", &CpuFeatures::avx512_bf16, "avx512_bf16"},
    {"avx512_vbmi", &CpuFeatures::avx512_vbmi, "avx512_bf16"},
    {"avx512_fp16", &CpuFeatures::avx512_fp16, "avx512_bf16"},
    {"amx_tile", &CpuFeatures::amx_tile, "amx"},
    {"amx_int8", &CpuFeatures::amx_int8, "amx"},
    {"amx_bf16", &CpuFeatures::amx_bf16, "amx"},
    {"amx_fp8", &CpuFeatures::amx_fp8, "amx"},
    {"neon", &CpuFeatures::neon, "neon"},
    {"neon_dotprod", &CpuFeatures::neon_dotprod, "neon_dotprod"},
    {"neon_i8mm", &CpuFeatures::neon_i8mm, "neon_i8mm"},
    {"neon_bf16", &CpuFeatures::neon_bf16, "neon_bf16"},
    {"sve", &CpuFeatures::sve, "sve"},
    {"sve_i8mm", &CpuFeatures::sve_i8mm, "sve"},
    {"sve_bf16", &CpuFeatures::sve_bf16, "sve"},
    {"sve_128", &CpuFeatures::sve_128, "sve"},
    {"sve_256", &CpuFeatures::sve_256, "sve"},
    {"sve_512", &CpuFeatures::sve_512, "sve"},
}};

std::size_t place_of(std::string_view isa) noexcept {
  return static_cast<std::size_t>(std::ranges::find(kIsas, isa) - kIsas.begin());
}

#if defined(__x86_64__)

struct Registers {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Registers cpuid(unsigned leaf, unsigned subleaf) noexcept {
  Registers r;
  if (__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx) == 0) return {};
  return r;
}

// The register states that the operating system saves (XCR0).
std::uint64_t saved_states() noexcept {
  unsigned low = 0;
  unsigned high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<std::uint64_t>(high) << 32) | low;
}

// "AuthenticAMD", family 1Ah.
bool is_zen5() noexcept {
  const Registers vendor = cpuid(0, 0);
  const bool amd =
      vendor.ebx == 0x68747541U && vendor.edx == 0x69746E65U && vendor.ecx == 0x444D4163U;
  const unsigned eax = cpuid(1, 0).eax;
  return amd && ((eax >> 8) & 0xFU) + ((eax >> 20) & 0xFFU) == 0x1AU;
}

/// Linux gives a process the tile registers of AMX when it asks for them.
bool may_use_tiles() noexcept {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM
  return ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

CpuFeatures detect() noexcept {
  CpuFeatures f;
  const auto bit = [](unsigned value, int index) { return ((value >> index) & 1U) != 0; };
  const Registers one = cpuid(1, 0);
  const Registers seven = cpuid(7, 0);
  const Registers seven_one = seven.eax >= 1 ? cpuid(7, 1) : Registers();
  f.sse4_1 = bit(one.ecx, 19);
  if (!bit(one.ecx, 27)) return f;  // no OSXSAVE: wider registers are not kept
  const std::uint64_t states = saved_states();
  const bool ymm = (states & 0x6U) == 0x6U;
  const bool zmm = ymm && (states & 0xE0U) == 0xE0U;
  const bool tiles = (states & 0x60000U) == 0x60000U && bit(seven.edx, 24) && may_use_tiles();
  f.avx2 = ymm && bit(seven.ebx, 5);
  f.fma = ymm && bit(one.ecx, 12);
  f.f16c = ymm && bit(one.ecx, 29);
  f.avx_vnni = ymm && bit(seven_one.eax, 4);
  f.avx_vnni_int8 = ymm && bit(seven_one.edx, 4);
  f.avx512f = zmm && bit(seven.ebx, 16);
  f.avx512dq = zmm && bit(seven.ebx, 17);
  f.avx512bw = zmm && bit(seven.ebx, 30);
  f.avx512vl = zmm && bit(seven.ebx, 31);
  f.avx512_vbmi = zmm && bit(seven.ecx, 1);
  f.avx512_vnni = zmm && bit(seven.ecx, 11);
  f.avx512_bf16 = zmm && bit(seven_one.eax, 5);
  f.avx512_fp16 = zmm && bit(seven.edx, 23);
  f.amx_tile = tiles && bit(seven.edx, 24);
  f.amx_int8 = tiles && bit(seven.edx, 25);
  f.amx_bf16 = tiles && bit(seven.edx, 22);
  f.amx_fp8 = tiles && bit(cpuid(0x1E, 1).eax, 4);
  return f;
}

std::string brand() {
  std::array<char, 49> text{};
  for (unsigned i = 0; i < 3; ++i) {
    const Registers r = cpuid(0x80000002U + i, 0);
    const std::array<unsigned, 4> words{r.eax, r.ebx, r.ecx, r.edx};
    std::memcpy(text.data() + 16 * i, words.data(), 16);
  }
  std::string name(text.data());
  while (!name.empty() && name.back() == ' ') name.pop_back();
  return name.empty() ? "x86-64" : name;
}

#elif defined(__aarch64__)

#if defined(__APPLE__)
bool has(const char* name) noexcept {
  int value = 0;
  std::size_t size = sizeof(value);
  return ::sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value != 0;
}
#endif

// NEON is part of the architecture.
CpuFeatures detect() noexcept {
  CpuFeatures f;
  f.neon = true;
#if defined(__linux__)
  f.neon_dotprod = (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
  f.neon_i8mm = (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0;
  f.neon_bf16 = (getauxval(AT_HWCAP2) & HWCAP2_BF16) != 0;
  f.sve = (getauxval(AT_HWCAP) & HWCAP_SVE) != 0;
  f.sve_i8mm = f.sve && (getauxval(AT_HWCAP2) & HWCAP2_SVEI8MM) != 0;
  f.sve_bf16 = f.sve && (getauxval(AT_HWCAP2) & HWCAP2_SVEBF16) != 0;
  const int bytes = f.sve ? ::prctl(PR_SVE_GET_VL) & PR_SVE_VL_LEN_MASK : 0;
  f.sve_128 = bytes == 16;
  f.sve_256 = bytes == 32;
  f.sve_512 = bytes == 64;
#elif defined(__APPLE__)
  f.neon_dotprod = has("hw.optional.arm.FEAT_DotProd");
  f.neon_i8mm = has("hw.optional.arm.FEAT_I8MM");
  f.neon_bf16 = has("hw.optional.arm.FEAT_BF16");
#endif
  return f;
}

std::string brand() { return "aarch64"; }

#else

CpuFeatures detect() noexcept { return {}; }
std::string brand() { return "unknown"; }

#endif

}  // namespace

const CpuFeatures& uncapped_cpu() noexcept {
  static const CpuFeatures features = detect();
  return features;
}

namespace {

CpuFeatures capped() noexcept {
  CpuFeatures features = uncapped_cpu();
  const std::size_t cap = place_of(env::isa());
  for (const FeatureRow& row : kFeatures) {
    if (place_of(row.isa) > cap) features.*row.flag = false;
  }
  return features;
}

}  // namespace

const CpuFeatures& this_cpu() noexcept {
  static const CpuFeatures features = capped();
  return features;
}

bool fetches_first_level() noexcept {
#if defined(__x86_64__)
  static const bool answer = is_zen5();
  return answer;
#else
  return false;
#endif
}

CpuFeatures complete_cpu() noexcept {
  CpuFeatures features;
  for (const FeatureRow& row : kFeatures) features.*row.flag = true;
  for (const auto length : {&CpuFeatures::sve_128, &CpuFeatures::sve_256, &CpuFeatures::sve_512}) {
    features.*length = uncapped_cpu().*length;
  }
  return features;
}

std::string names_of_isas() {
  std::string names;
  for (const std::string_view isa : kIsas) {
    if (!names.empty()) names += ", ";
    names += isa;
  }
  return names;
}

std::vector<std::string> isas_of_this_cpu() {
  std::vector<std::string> found{std::string(kIsas.front())};
  for (const std::string_view isa : kIsas) {
    const bool adds = std::ranges::any_of(kFeatures, [isa](const FeatureRow& row) {
      return row.isa == isa && uncapped_cpu().*row.flag;
    });
    if (adds) found.emplace_back(isa);
  }
  return found;
}

bool isa_is_known() noexcept { return env::isa().empty() || place_of(env::isa()) < kIsas.size(); }

std::vector<CpuFeature> cpu_features() {
  std::vector<CpuFeature> features;
  for (const FeatureRow& row : kFeatures) {
    const bool present = this_cpu().*row.flag;
    features.push_back({row.name, present, !present && uncapped_cpu().*row.flag});
  }
  return features;
}

std::string cpu_name() { return brand(); }

}  // namespace octavo
