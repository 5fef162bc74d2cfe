// SPDX-License-Identifier: Apache-2.0
// int8 on AVX-512 without VNNI, of few rows: the even and the odd bytes of a step as 16-bit
// numbers, by vpmaddwd, sum[lane] += (u[0] s[0] + u[2] s[2]) + (u[1] s[1] + u[3] s[3]). vpmaddubsw
// would be shorter, but it saturates.
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

// Both halves of B's vectors are kept, so fewer accumulators fit.
constexpr std::array<std::int64_t, kPanelVectors> kMaxRows{8, 7, 4, 3};
constexpr std::int64_t kWidth = kPanelVectors;

OCTAVO_ISA_BEGIN("avx512f,avx512bw")
#include "backends/cpu/kernels/vec/vec_avx512-inl.hpp"

#include "backends/cpu/kernels/tile/integer_dot-inl.hpp"
struct Dot : IntegerDot {
  explicit Dot(const DotTile& t) : IntegerDot(t) {}
  struct Halves {
    __m512i even, odd;
  };
  using Loaded = Halves;
  using Right = Halves;
  static Loaded load(__m512i b) {
    return {_mm512_srai_epi16(_mm512_slli_epi16(b, 8), 8), _mm512_srai_epi16(b, 8)};
  }
  template <int>
  static const Right& right(const Loaded& b) {
    return b;
  }
  Halves left(__m512i a) const { return taken(flipped(a)); }
  static Halves taken(__m512i u) {
    return {_mm512_and_si512(u, _mm512_set1_epi16(0xFF)), _mm512_srli_epi16(u, 8)};
  }
  static __m512i add(__m512i sum, const Halves& a, const Halves& b) {
    sum = _mm512_add_epi32(sum, _mm512_madd_epi16(a.even, b.even));
    return _mm512_add_epi32(sum, _mm512_madd_epi16(a.odd, b.odd));
  }
};
#include "backends/cpu/kernels/tile/dot_tile-inl.hpp"
#include "backends/cpu/kernels/vec/transpose_avx512-inl.hpp"

#include "backends/cpu/kernels/panels/pack_codes-inl.hpp"
#include "backends/cpu/kernels/unpacked/int8_avx512-inl.hpp"
OCTAVO_ISA_END

}  // namespace

extern const IntegerKernels kAvx512BwDot{
    .dot =
        {
            .how = "3x64 tile, AVX-512 BW (vpmaddwd), exact int32 sums",
            .how_unpacked = "few rows, AVX-512 BW (vpmaddwd), exact int32 sums",
            .form = kInt8Form,
            .max_rows = kMaxRows,
            .tile = &find_dot_tile,
            .pack = &pack_codes,
            .unpacked = &find_unpacked,
        },
    .rows = ARows::unsigned_bytes,
    .unpack = &unpack_piece,
};

}  // namespace octavo::cpu
#endif
