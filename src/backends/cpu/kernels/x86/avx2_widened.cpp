// SPDX-License-Identifier: Apache-2.0
// float32 by weights of fewer bits, which become floats inside the tile, so that a weight passes
// once as it is packed: sum[j] = fma(a, float(b[j]), sum[j]), the bits of avx2_fma.cpp.
//
//   16 bits  [b0 b1][b0 b1] ..  8 columns a register, two steps of A each
//            bfloat16: shifted up, and masked; float16: all b0, then all b1, converted
//   int8     [b0 b1 b2 b3] ..   8 columns a register, four steps of A each: shifted, converted
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>

#include "backends/cpu/kernels/isa_region.hpp"
#include "backends/cpu/kernels/tile_contract.hpp"

#if defined(__x86_64__)
namespace octavo::cpu {
namespace {

constexpr std::array<std::int64_t, kPanelVectors> kMaxRows{4, 1, 1, 1};
constexpr std::int64_t kWidth = 1;
constexpr std::int64_t kMostCodeRows = 32;
constexpr std::int64_t kMostRows = 16;

OCTAVO_ISA_BEGIN("avx2,fma,f16c")
#include "backends/cpu/kernels/vec/vec_avx2-inl.hpp"

#include "backends/cpu/kernels/vec/halves_avx2-inl.hpp"
#include "backends/cpu/kernels/tile/widened_dot-inl.hpp"

namespace of_int8 {
struct Dot : WidenedDot<4> {
  explicit Dot(const DotTile& t) : WidenedDot(t) {}
  template <int step>
  static OCTAVO_INLINE __m256i code(__m256i codes) {
    return _mm256_srai_epi32(_mm256_slli_epi32(codes, 24 - 8 * step), 24);
  }
  template <int step>
  static OCTAVO_INLINE Part part(const Loaded& codes) {
    return {_mm256_castps_si256(_mm256_cvtepi32_ps(code<step>(codes.low))),
            _mm256_castps_si256(_mm256_cvtepi32_ps(code<step>(codes.high)))};
  }
  static OCTAVO_INLINE Sum add(const Sum& sum, const Vec::Ints& a, const Right& b) {
    Sum more = WidenedDot::add(sum, a, b);
#if defined(__clang__)  // clang 14 would widen ahead, and keep what it made on the stack
    __asm__ volatile("" : "+x"(more.low), "+x"(more.high));
#endif
    return more;
  }
};
#include "backends/cpu/kernels/tile/dot_tile-inl.hpp"
}  // namespace of_int8

namespace of_bfloat16 {
struct Dot : WidenedDot<2> {
  explicit Dot(const DotTile& t) : WidenedDot(t) {}
  template <int step>
  static OCTAVO_INLINE Part part(const Loaded& pairs) {
    if constexpr (step == 0) {
      return {_mm256_slli_epi32(pairs.low, 16), _mm256_slli_epi32(pairs.high, 16)};
    }
    const __m256i upper = _mm256_set1_epi32(-0x10000);
    return {_mm256_and_si256(pairs.low, upper), _mm256_and_si256(pairs.high, upper)};
  }
};
#include "backends/cpu/kernels/tile/dot_tile-inl.hpp"
}  // namespace of_bfloat16

namespace of_float16 {
struct Dot : WidenedDot<2> {
  explicit Dot(const DotTile& t) : WidenedDot(t) {}
  static OCTAVO_INLINE Loaded load(const Vec::Ints& pairs) {
    return {halves_apart(pairs.low), halves_apart(pairs.high)};
  }
  template <int step>
  static OCTAVO_INLINE __m256i floats_of(__m256i halves) {
    return _mm256_castps_si256(_mm256_cvtph_ps(_mm256_extracti128_si256(halves, step)));
  }
  template <int step>
  static OCTAVO_INLINE Part part(const Loaded& halves) {
    return {floats_of<step>(halves.low), floats_of<step>(halves.high)};
  }
};
#include "backends/cpu/kernels/tile/dot_tile-inl.hpp"
}  // namespace of_float16
OCTAVO_ISA_END

}  // namespace

extern const WideningKernels kAvx2WideningDot{
    .int8 =
        {
            .dot = tiles_alone("1x64 tile, int8 widened, AVX2 FMA, float32 sums in ascending k",
                               kInt8Form, kMaxRows, &of_int8::find_dot_tile, kWidth),
            .most_rows = kMostCodeRows,
        },
    .bfloat16 =
        {
            .dot = tiles_alone("1x64 tile, bfloat16 widened, AVX2 FMA, float32 sums in ascending k",
                               kBf16Form, kMaxRows, &of_bfloat16::find_dot_tile, kWidth),
            .most_rows = kMostRows,
        },
    .float16 =
        {
            .dot = tiles_alone("1x64 tile, float16 widened, AVX2 FMA, float32 sums in ascending k",
                               kFloat16Form, kMaxRows, &of_float16::find_dot_tile, kWidth),
            .most_rows = kMostRows,
        },
};

}  // namespace octavo::cpu
#endif
