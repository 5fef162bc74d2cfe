// SPDX-License-Identifier: Apache-2.0
// bfloat16 by int8 weights, which become bfloat16 inside the tile, so that a weight passes once as
// it is packed; the bits of avx512_bf16_dot.cpp.
//
//   b      [b0 b1 b2 b3] ..   16 columns, two steps of A each
//   |b|    its bfloat16's low bytes and high bytes, looked up and put together as [b0 b1] ..,
//          [b2 b3] .., with the sign of b
//
// A table has 128 places: 128 itself lies with 0, whose low byte it has, too; its high byte is set
// apart.
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <bit>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>

#include "backends/cpu/kernels/isa_region.hpp"
#include "backends/cpu/kernels/tile_contract.hpp"

#if defined(__x86_64__)
namespace octavo::cpu {
namespace {

constexpr std::array<std::int64_t, kPanelVectors> kMaxRows{8, 9, 4, 3};
constexpr std::int64_t kWidth = kPanelVectors;
constexpr std::int64_t kMostRows = 16;

#include "backends/cpu/kernels/panels/number_table-inl.hpp"

OCTAVO_ISA_BEGIN("avx512f,avx512bw,avx512vbmi,avx512bf16")
#include "backends/cpu/kernels/vec/vec_avx512-inl.hpp"

#include "backends/cpu/kernels/tile/float_dot-inl.hpp"

#include "backends/cpu/kernels/panels/float8_bytes_avx512-inl.hpp"
#include "backends/cpu/kernels/panels/int8_bytes_avx512-inl.hpp"

struct Dot : FloatDot {
  static constexpr int kSteps = 2;
  using Loaded = Bytes;
  using Part = __m512i;
  explicit Dot(const DotTile& t) : FloatDot(t) {}
  OCTAVO_INLINE Loaded load(__m512i quads) const { return decoder.decode(quads); }
  template <int step>
  static OCTAVO_INLINE Part part(const Loaded& b) {
    return step == 0 ? _mm512_unpacklo_epi8(b.low, b.high) : _mm512_unpackhi_epi8(b.low, b.high);
  }
  static OCTAVO_INLINE Sum add(Sum sum, __m512i a, __m512i b) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
  }
  Int8Bytes decoder;
};
#include "backends/cpu/kernels/tile/dot_tile-inl.hpp"
OCTAVO_ISA_END

}  // namespace

extern const WideningKernels kAvx512Int8PairsDot{
    .int8 =
        {
            .dot =
                tiles_alone("3x64 tile, int8 by table, AVX-512 BF16, float32 sums in ascending k",
                            kInt8Form, kMaxRows, &find_dot_tile, kWidth),
            .most_rows = kMostRows,
        },
    .bfloat16 = {},
    .float16 = {},
};

}  // namespace octavo::cpu
#endif
