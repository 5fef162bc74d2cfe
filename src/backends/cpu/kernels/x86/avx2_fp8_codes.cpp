// SPDX-License-Identifier: Apache-2.0
// fp8 by fp8 on AVX2, of a few rows: what avx2_fp8.cpp multiplies every weight by, the four bytes
// of A are multiplied by instead, once for 64 columns:
//
//   sum[j] += (a * unit / 512) * (b[j] / unit)          sums are 1 / 512 of what they are elsewhere
//
// Numbers of fp8 types are below 2^16, so that no product with unit / 512, at most 2^111, leaves
// float32; and what they add up to is a multiple of 2^-34, so that 1 / 512 of it is rounded where
// it would be, and no bit is another. Other elements can be too large or too small for both.
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <cstdlib>
#include <cstring>
#include <utility>

#include "backends/cpu/kernels/isa_region.hpp"
#include "backends/cpu/kernels/tile_contract.hpp"

#if defined(__x86_64__)
namespace octavo::cpu {
namespace {

constexpr std::array<std::int64_t, kPanelVectors> kMaxRows{0, 2, 0, 1};
constexpr std::int64_t kWidth = 2;
constexpr float kSumsDown = Float8Table::kRowsDown, kSumsUp = 1.0F / kSumsDown;

OCTAVO_ISA_BEGIN("avx2,fma")
#include "backends/cpu/kernels/vec/vec_avx2-inl.hpp"

#include "backends/cpu/kernels/panels/float8_codes_avx2-inl.hpp"
#include "backends/cpu/kernels/tile/float_dot-inl.hpp"

// A step of B is two of A: pairs of codes, the first of them in the lower bytes.
struct Dot : FloatDot {
  static constexpr int kLoadVectors = 2;
  static constexpr int kSteps = 2;
  using Right = Vec::Floats;
  explicit Dot(const DotTile& t) : FloatDot(t), codes(*t.table) {}
  static OCTAVO_INLINE Loaded load(const Vec::Ints& pairs) { return pairs; }
  using Part = Vec::Ints;
  template <int step>
  OCTAVO_INLINE Part part(const Loaded& pairs) const {
    return {codes.words(FiniteCodes::upper<step>(pairs.low)),
            codes.words(FiniteCodes::upper<step>(pairs.high))};
  }
  template <int half>
  static OCTAVO_INLINE Right right(const Part& words) {
    const auto floats = [&](__m256i x) {
      const __m256i zero = _mm256_setzero_si256();
      return _mm256_castsi256_ps(half == 0 ? _mm256_unpacklo_epi16(zero, x)
                                           : _mm256_unpackhi_epi16(zero, x));
    };
    return {floats(words.low), floats(words.high)};
  }
  // The factor stays in memory: two rows leave it no register.
  OCTAVO_INLINE Vec::Floats left(const Vec::Ints& a) const {
    const __m256 factor = _mm256_load_ps(FiniteCodes::hidden(codes.table)->unit_for_rows.data());
    return Vec::multiply(Vec::as_floats(a), {factor, factor});
  }
  static OCTAVO_INLINE Sum add(const Sum& sum, const Vec::Floats& a, const Right& b) {
    Sum more = Vec::fused(a, b, sum);
#if defined(__clang__)
    __asm__ volatile("" : "+x"(more.low), "+x"(more.high));  // as FiniteCodes::hidden
#endif
    return more;
  }
  static OCTAVO_INLINE Sum read(const void* p) {
    return Vec::multiply(Vec::load_floats(p), Vec::broadcast(kSumsDown));
  }
  static OCTAVO_INLINE Vec::Floats floats(const Sum& sum) {
    return Vec::multiply(sum, Vec::broadcast(kSumsUp));
  }
  static OCTAVO_INLINE void write(void* p, const Sum& sum) { Vec::store(p, floats(sum)); }
  FiniteCodes codes;
};
#include "backends/cpu/kernels/tile/dot_tile-inl.hpp"
OCTAVO_ISA_END

}  // namespace

extern const DotKernels kAvx2Float8CodesDot =
    tiles_alone("1x64 tile, fp8 by a shift, AVX2 FMA, float32 sums in ascending k", kFloat8Form,
                kMaxRows, &find_dot_tile, kWidth);

}  // namespace octavo::cpu
#endif
