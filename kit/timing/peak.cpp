// SPDX-License-Identifier: Apache-2.0
// Register-only loops: many independent accumulators, unrolled by index sequence, no memory.
#include "kit/timing/peak.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>
#include <utility>

#include "kit/workers.hpp"
#include "octavo/backend.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if defined(__clang__)
#define OCTAVO_NOIPA __attribute__((noinline))
#else
#define OCTAVO_NOIPA __attribute__((noipa))
#endif

namespace octavo::kit {
namespace {

// One instruction on one accumulator. As text: clang multiplies what is added in every round, or
// spreads the accumulators over memory, and either is no peak.
#define OCTAVO_ISSUE(acc, instruction, x, y) \
  __asm__(instruction " %2, %1, %0" : "+v"(acc) : "v"(y), "v"(x))

volatile float sink;
volatile int source = 1;  // accumulators begin with values of their own, or loops merge them

// A loop runs `rounds` times its accumulators' instructions.
using Loop = void (*)(std::int64_t rounds);
struct LoopRow {
  PeakKind kind;
  const char* feature;  // what the CPU must have, empty for the baseline
  const char* instruction;
  Loop run;
  int accumulators;
  int ops_per_instruction;
};

#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(                                                   \
    __attribute__((target("avx512f,avx512vnni,avx512bf16,avx512bw,avx512vl"))), \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512vnni,avx512bf16,avx512bw,avx512vl")
#endif

inline void issue_dpbusd(__m512i& acc, __m512i a, __m512i b) {
  OCTAVO_ISSUE(acc, "vpdpbusd", b, a);
}
inline void issue_dpbf16(__m512& acc, __m512i a) { OCTAVO_ISSUE(acc, "vdpbf16ps", a, a); }
inline void issue_fma(__m512& acc, __m512 a, __m512 b) { OCTAVO_ISSUE(acc, "vfmadd231ps", b, a); }

template <std::size_t... i>
OCTAVO_NOIPA void dpbusd_512(std::int64_t rounds, std::index_sequence<i...>) {
  const int start = source;
  __m512i acc[sizeof...(i)] = {_mm512_set1_epi32(start + static_cast<int>(i))...};
  const __m512i a = _mm512_set1_epi32(0x01020304);
  const __m512i b = _mm512_set1_epi32(0x01010101);
  for (std::int64_t r = 0; r < rounds; ++r) (issue_dpbusd(acc[i], a, b), ...);
  __m512i sum = _mm512_setzero_si512();
  ((sum = _mm512_add_epi32(sum, acc[i])), ...);
  sink = static_cast<float>(sum[0]);
}
template <std::size_t... i>
OCTAVO_NOIPA void dpbf16_512(std::int64_t rounds, std::index_sequence<i...>) {
  const int start = source;
  __m512 acc[sizeof...(i)] = {_mm512_set1_ps(static_cast<float>(start + static_cast<int>(i)))...};
  const __m512i a = _mm512_set1_epi32(0x3F803F80);
  for (std::int64_t r = 0; r < rounds; ++r) (issue_dpbf16(acc[i], a), ...);
  __m512 sum = _mm512_setzero_ps();
  ((sum = _mm512_add_ps(sum, acc[i])), ...);
  sink = sum[0];
}
template <std::size_t... i>
OCTAVO_NOIPA void fma_512(std::int64_t rounds, std::index_sequence<i...>) {
  const int start = source;
  __m512 acc[sizeof...(i)] = {_mm512_set1_ps(static_cast<float>(start + static_cast<int>(i)))...};
  const __m512 a = _mm512_set1_ps(1.0F);
  const __m512 b = _mm512_set1_ps(0.5F);
  for (std::int64_t r = 0; r < rounds; ++r) (issue_fma(acc[i], a, b), ...);
  __m512 sum = _mm512_setzero_ps();
  ((sum = _mm512_add_ps(sum, acc[i])), ...);
  sink = sum[0];
}

#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("amx-tile,amx-int8,amx-bf16"))), \
                             apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("amx-tile,amx-int8,amx-bf16")
#endif

// The operand of ldtilecfg: eight registers of 16 rows of 64 bytes.
struct alignas(64) TileShapes {
  std::uint8_t palette = 1, start_row = 0;
  std::array<std::uint8_t, 14> reserved{};
  std::array<std::uint16_t, 16> row_bytes{64, 64, 64, 64, 64, 64, 64, 64};
  std::array<std::uint8_t, 16> rows{16, 16, 16, 16, 16, 16, 16, 16};
};

// A register of numbers of either sign, floats near 1. With zeros a Xeon (Emerald Rapids)
// multiplies 1.26 times as fast: registers of zeros take less power, and the clock goes up.
template <PeakKind kind>
constexpr std::array<std::uint8_t, 1024> numbers(std::uint32_t state) {
  std::array<std::uint8_t, 1024> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    state = state * 1664525 + 1013904223;
    const auto random = static_cast<std::uint8_t>(state >> 24);
    const bool upper = kind == PeakKind::bf16 && i % 2 == 1;  // sign and exponent of bfloat16
    const bool code = kind == PeakKind::e4m3;
    bytes[i] = upper  ? static_cast<std::uint8_t>(0x3F | (random & 0x80))
               : code ? static_cast<std::uint8_t>(0x30 | (random & 0x8F))
                      : random;
  }
  return bytes;
}

// Four registers of sums, as a 32x32 tile has.
template <PeakKind kind>
OCTAVO_NOIPA void amx_products(std::int64_t rounds, std::index_sequence<0, 1, 2, 3>) {
  const TileShapes shapes;
  _tile_loadconfig(&shapes);
  static constexpr std::array a = numbers<kind>(1), b = numbers<kind>(2);
  _tile_loadd(4, a.data(), 64);
  _tile_loadd(5, b.data(), 64);
  _tile_loadd(6, a.data(), 64);
  _tile_loadd(7, b.data(), 64);
  for (std::int64_t r = 0; r < rounds; ++r) {
    if constexpr (kind == PeakKind::e4m3) {  // tdphf8ps of these registers, as bytes
      __asm__ volatile(
          ".byte 0xc4,0xe5,0x49,0xfd,0xc4, 0xc4,0xe5,0x41,0xfd,0xcc\n\t"
          ".byte 0xc4,0xe5,0x49,0xfd,0xd5, 0xc4,0xe5,0x41,0xfd,0xdd");
    } else if constexpr (kind == PeakKind::bf16) {
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    } else {
      _tile_dpbssd(0, 4, 6);
      _tile_dpbssd(1, 4, 7);
      _tile_dpbssd(2, 5, 6);
      _tile_dpbssd(3, 5, 7);
    }
  }
  _tile_release();
}

#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

// A product of words and its sum: what int8 takes without VNNI.
inline void issue_madd(__m256i& acc, __m256i a, __m256i b) {
  __asm__("vpmaddwd %2, %1, %%ymm15\n\tvpaddd %%ymm15, %0, %0"
          : "+x"(acc)
          : "x"(b), "x"(a)
          : "xmm15");
}
inline void issue_dpbusd(__m256i& acc, __m256i a, __m256i b) {
  __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(acc) : "x"(b), "x"(a));
}
template <bool vnni, std::size_t... i>
OCTAVO_NOIPA void integers_256(std::int64_t rounds, std::index_sequence<i...>) {
  const int start = source;
  __m256i acc[sizeof...(i)] = {_mm256_set1_epi32(start + static_cast<int>(i))...};
  const __m256i a = _mm256_set1_epi32(0x01020304);
  const __m256i b = _mm256_set1_epi32(0x01010101);
  for (std::int64_t r = 0; r < rounds; ++r) {
    ((vnni ? issue_dpbusd(acc[i], a, b) : issue_madd(acc[i], a, b)), ...);
  }
  __m256i sum = _mm256_setzero_si256();
  ((sum = _mm256_add_epi32(sum, acc[i])), ...);
  sink = static_cast<float>(_mm256_extract_epi32(sum, 0));
}
inline void issue_fma(__m256& acc, __m256 a, __m256 b) {
  __asm__("vfmadd231ps %2, %1, %0" : "+x"(acc) : "x"(b), "x"(a));
}
template <std::size_t... i>
OCTAVO_NOIPA void fma_256(std::int64_t rounds, std::index_sequence<i...>) {
  const int start = source;
  __m256 acc[sizeof...(i)] = {_mm256_set1_ps(static_cast<float>(start + static_cast<int>(i)))...};
  const __m256 a = _mm256_set1_ps(1.0F);
  const __m256 b = _mm256_set1_ps(0.5F);
  for (std::int64_t r = 0; r < rounds; ++r) (issue_fma(acc[i], a, b), ...);
  __m256 sum = _mm256_setzero_ps();
  ((sum = _mm256_add_ps(sum, acc[i])), ...);
  sink = _mm256_cvtss_f32(sum);
}

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif  // __x86_64__

using Vec4 = float __attribute__((vector_size(16)));
Vec4 splat(float x) { return Vec4{x, x, x, x}; }

// The baseline: 4-wide multiply and add.
template <std::size_t... i>
OCTAVO_NOIPA void mul_add(std::int64_t rounds, std::index_sequence<i...>) {
  const int start = source;
  Vec4 acc[sizeof...(i)] = {splat(static_cast<float>(start + static_cast<int>(i)))...};
  Vec4 a{1.0F, 1.0F, 1.0F, 1.0F};
  for (std::int64_t r = 0; r < rounds; ++r) ((acc[i] += acc[i] * a), ...);
  Vec4 sum{};
  ((sum += acc[i]), ...);
  sink = sum[0];
}

#define OCTAVO_LOOP(function, count) \
  [](std::int64_t rounds) { function(rounds, std::make_index_sequence<count>()); }, count

// Fastest first within a kind; loops of the first feature that is present are measured.
constexpr std::array kLoops {
#if defined(__x86_64__)
  LoopRow{PeakKind::int8, "amx_int8", "tdpbssd", OCTAVO_LOOP(amx_products<PeakKind::int8>, 4),
          32768},
      LoopRow{PeakKind::e4m3, "amx_fp8", "tdphf8ps", OCTAVO_LOOP(amx_products<PeakKind::e4m3>, 4),
              32768},
      LoopRow{PeakKind::int8, "avx512_vnni", "vpdpbusd zmm", OCTAVO_LOOP(dpbusd_512, 24), 128},
      LoopRow{PeakKind::int8, "avx512_vnni", "vpdpbusd zmm", OCTAVO_LOOP(dpbusd_512, 28), 128},
      LoopRow{PeakKind::int8, "avx_vnni", "vpdpbusd ymm", OCTAVO_LOOP(integers_256<true>, 12), 64},
      LoopRow{PeakKind::int8, "avx2", "vpmaddwd, vpaddd ymm", OCTAVO_LOOP(integers_256<false>, 12),
              32},
      LoopRow{PeakKind::bf16, "amx_bf16", "tdpbf16ps", OCTAVO_LOOP(amx_products<PeakKind::bf16>, 4),
              16384},
      LoopRow{PeakKind::bf16, "avx512_bf16", "vdpbf16ps zmm", OCTAVO_LOOP(dpbf16_512, 24), 64},
      LoopRow{PeakKind::bf16, "avx512_bf16", "vdpbf16ps zmm", OCTAVO_LOOP(dpbf16_512, 28), 64},
      LoopRow{PeakKind::bf16, "fma", "vfmadd ymm", OCTAVO_LOOP(fma_256, 12), 16},
      LoopRow{PeakKind::fp32, "avx512f", "vfmadd zmm", OCTAVO_LOOP(fma_512, 24), 32},
      LoopRow{PeakKind::fp32, "avx512f", "vfmadd zmm", OCTAVO_LOOP(fma_512, 28), 32},
      LoopRow{PeakKind::fp32, "fma", "vfmadd ymm", OCTAVO_LOOP(fma_256, 12), 16},
#endif
      LoopRow{PeakKind::int8, "", "4-wide multiply and add", OCTAVO_LOOP(mul_add, 12), 8},
      LoopRow{PeakKind::bf16, "", "4-wide multiply and add", OCTAVO_LOOP(mul_add, 12), 8},
      LoopRow{PeakKind::fp32, "", "4-wide multiply and add", OCTAVO_LOOP(mul_add, 12), 8},
};

bool has_feature(std::string_view feature) {
  if (feature.empty()) return true;
  for (const CpuFeature& f : cpu_features()) {
    if (f.name == feature) return f.present;
  }
  return false;
}

// Cycles per second of one thread now: a chain of dependent one-cycle additions.
OCTAVO_NOIPA double clock_rate_once() {
  constexpr std::int64_t kSteps = 500000;
  std::uint64_t x = 1;
  const Clock::time_point start = Clock::now();
  for (std::int64_t i = 0; i < kSteps; ++i) {
    x += static_cast<std::uint64_t>(i);
    __asm__ volatile("" : "+r"(x));  // keeps the chain: one addition a step
  }
  const double rate = static_cast<double>(kSteps) / seconds_since(start);
  sink = static_cast<float>(x);
  return rate;
}

// Whoever takes the processor away meanwhile makes a clock look slow, never fast.
double clock_rate() {
  double best = 0.0;
  for (int i = 0; i < 8; ++i) best = std::max(best, clock_rate_once());
  return best;
}

}  // namespace

PeakKind peak_kind(DType a, DType b) {
  if (is_integer8(a) && is_integer8(b)) return PeakKind::int8;
  if (a == DType::float8_e4m3fn && b == a) return PeakKind::e4m3;
  return a == DType::float32 || a == DType::float16 ? PeakKind::fp32 : PeakKind::bf16;
}

Peak measure_peak(PeakKind kind, int threads, double seconds) {
  if (kind == PeakKind::e4m3 && !has_feature("amx_fp8")) kind = PeakKind::bf16;
  Peak best;
  std::string_view feature;
  bool chosen = false;
  const double cycles = clock_rate();
  for (const LoopRow& row : kLoops) {
    if (row.kind != kind || (chosen && feature != row.feature)) continue;
    if (!chosen && !has_feature(row.feature)) continue;
    feature = row.feature;
    chosen = true;
    std::int64_t rounds = 20000;
    double elapsed = run_together(threads, [&](int) { row.run(rounds); });
    rounds = std::max<std::int64_t>(
        rounds, static_cast<std::int64_t>(static_cast<double>(rounds) * seconds / 2 / elapsed));
    for (int repeat = 0; repeat < 2; ++repeat) {
      elapsed = run_together(threads, [&](int) { row.run(rounds); });
      const double instructions = static_cast<double>(rounds) * row.accumulators / elapsed;
      const double gops = instructions * row.ops_per_instruction * threads * 1e-9;
      if (gops > best.gops) best = {row.instruction, gops, instructions / cycles};
    }
  }
  return best;
}

}  // namespace octavo::kit
