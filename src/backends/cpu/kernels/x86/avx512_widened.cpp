// SPDX-License-Identifier: Apache-2.0
// float32 by weights of fewer bits, which become floats inside the tile, so that a weight passes
// once as it is packed: sum[j] = fma(a, float(b[j]), sum[j]), the bits of avx512_fma.cpp.
//
//   16 bits  [b0 b1][b0 b1] ..  16 columns a register, two steps of A each
//            bfloat16: shifted up, and masked; float16: all b0, then all b1, converted
//   int8     [b0 b1 b2 b3] ..   16 columns a register, four steps of A each: shifted, converted
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

constexpr std::array<std::int64_t, kPanelVectors> kMaxRows{6, 10, 4, 4};
constexpr std::int64_t kWidth = kPanelVectors;
constexpr std::int64_t kMostCodeRows = 64;
constexpr std::int64_t kMostRows = 32;

OCTAVO_ISA_BEGIN("avx512f,avx512bw")
#include "backends/cpu/kernels/vec/vec_avx512-inl.hpp"

#include "backends/cpu/kernels/tile/widened_dot-inl.hpp"

namespace of_int8 {
struct Dot : WidenedDot<4> {
  explicit Dot(const DotTile& t) : WidenedDot(t) {}
  template <int step>
  static OCTAVO_INLINE __m512i code(__m512i codes) {
    return _mm512_srai_epi32(_mm512_slli_epi32(codes, 24 - 8 * step), 24);
  }
  template <int step>
  static OCTAVO_INLINE Part part(const Loaded& codes) {
    return _mm512_castps_si512(_mm512_cvtepi32_ps(code<step>(codes)));
  }
};
#include "backends/cpu/kernels/tile/dot_tile-inl.hpp"
}  // namespace of_int8

namespace of_bfloat16 {
struct Dot : WidenedDot<2> {
  explicit Dot(const DotTile& t) : WidenedDot(t) {}
  template <int step>
  static OCTAVO_INLINE Part part(const Loaded& pairs) {
    if constexpr (step == 0) return _mm512_slli_epi32(pairs, 16);
    return _mm512_and_si512(pairs, _mm512_set1_epi32(-0x10000));
  }
};
#include "backends/cpu/kernels/tile/dot_tile-inl.hpp"
}  // namespace of_bfloat16

namespace of_float16 {
struct Dot : WidenedDot<2> {
  explicit Dot(const DotTile& t) : WidenedDot(t), order(_mm512_load_si512(kOrder)) {}
  OCTAVO_INLINE Loaded load(const Vec::Ints& pairs) const {
    Loaded halves = _mm512_permutexvar_epi16(order, pairs);
    // One of the first sixteen registers: without AVX512VL the halves of others go through memory.
    __asm__("" : "+x"(halves));
    return halves;
  }
  template <int step>
  static OCTAVO_INLINE Part part(const Loaded& halves) {
    return _mm512_castps_si512(_mm512_cvtph_ps(step == 0 ? _mm512_castsi512_si256(halves)
                                                         : _mm512_extracti64x4_epi64(halves, 1)));
  }
  alignas(64) static constexpr std::uint16_t kOrder[32] = {
      0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30,
      1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31};
  __m512i order;
};
#include "backends/cpu/kernels/tile/dot_tile-inl.hpp"
}  // namespace of_float16
OCTAVO_ISA_END

}  // namespace

extern const WideningKernels kAvx512WideningDot{
    .int8 =
        {
            .dot = tiles_alone("4x64 tile, int8 widened, AVX-512 FMA, float32 sums in ascending k",
                               kInt8Form, kMaxRows, &of_int8::find_dot_tile, kWidth),
            .most_rows = kMostCodeRows,
        },
    .bfloat16 =
        {
            .dot =
                tiles_alone("4x64 tile, bfloat16 widened, AVX-512 FMA, float32 sums in ascending k",
                            kBf16Form, kMaxRows, &of_bfloat16::find_dot_tile, kWidth),
            .most_rows = kMostRows,
        },
    .float16 =
        {
            .dot =
                tiles_alone("4x64 tile, float16 widened, AVX-512 FMA, float32 sums in ascending k",
                            kFloat16Form, kMaxRows, &of_float16::find_dot_tile, kWidth),
            .most_rows = kMostRows,
        },
};

}  // namespace octavo::cpu
#endif
