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

#include "backends/cpu/kernels/dot.hpp"
#include "backends/cpu/kernels/isa_region.hpp"

#if defined(__x86_64__)
namespace octavo::cpu {
namespace {

constexpr std::array<std::int64_t, kPanelVectors> kMaxRows{10, 9, 5, 3};
constexpr std::int64_t kWidth = kPanelVectors;
constexpr std::int64_t kMostRows = 16;

struct alignas(64) NumberTable {
  std::array<std::uint8_t, 128> low, high;  // of 0 to 127
  std::array<std::uint8_t, 64> high_of_128;
  std::array<std::uint8_t, 64> order;  // in 128 bits the first two codes of columns, then the last
};
constexpr NumberTable kNumbers = [] {
  NumberTable table{};
  for (std::size_t i = 0; i < 128; ++i) {
    const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(i));
    table.low[i] = static_cast<std::uint8_t>(bits >> 16);
    table.high[i] = static_cast<std::uint8_t>(bits >> 24);
  }
  table.high_of_128.fill(0x43);
  for (std::size_t i = 0; i < 64; ++i) {
    const std::size_t column = i % 8 / 2;
    table.order[i] = static_cast<std::uint8_t>(4 * column + i % 16 / 8 * 2 + i % 2);
  }
  return table;
}();

OCTAVO_ISA_BEGIN("avx512f,avx512bw,avx512vbmi,avx512bf16")
#include "backends/cpu/kernels/vec_avx512-inl.hpp"

#include "backends/cpu/kernels/float_dot-inl.hpp"

struct Bytes {
  __m512i low, high;
};

struct Dot : FloatDot {
  static constexpr int kSteps = 2;
  using Loaded = Bytes;
  using Part = __m512i;
  explicit Dot(const DotTile& t)
      : FloatDot(t),
        low0(_mm512_load_si512(kNumbers.low.data())),
        high0(_mm512_load_si512(kNumbers.high.data())),
        sign(_mm512_set1_epi8(static_cast<char>(0x80))) {}
  OCTAVO_INLINE Loaded load(__m512i quads) const {
    constexpr int kOrAnd = 0xF8;  // a | (b & c)
    const NumberTable* table = &kNumbers;
    __asm__ volatile(""
                     : "+r"(table));  // or the rest would be kept in registers that are not there
    const auto at = [](const auto& bytes, std::size_t i) {
      return _mm512_load_si512(bytes.data() + i);
    };
    const __m512i codes = _mm512_shuffle_epi8(quads, at(table->order, 0));
    const __m512i magnitudes = _mm512_abs_epi8(codes);
    const __m512i looked = _mm512_permutex2var_epi8(high0, magnitudes, at(table->high, 64));
    const __m512i high =
        _mm512_mask_mov_epi8(looked, _mm512_movepi8_mask(magnitudes), at(table->high_of_128, 0));
    return {_mm512_permutex2var_epi8(low0, magnitudes, at(table->low, 64)),
            _mm512_ternarylogic_epi64(high, codes, sign, kOrAnd)};
  }
  template <int step>
  static OCTAVO_INLINE Part part(const Loaded& b) {
    return step == 0 ? _mm512_unpacklo_epi8(b.low, b.high) : _mm512_unpackhi_epi8(b.low, b.high);
  }
  static OCTAVO_INLINE Sum add(Sum sum, __m512i a, __m512i b) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
  }
  __m512i low0, high0, sign;
};
#include "backends/cpu/kernels/dot_tile-inl.hpp"
OCTAVO_ISA_END

}  // namespace

extern const WideningKernels kAvx512Int8PairsDot{
    .int8 = {tiles_alone("3x64 tile, int8 by table, AVX-512 BF16, float32 sums in ascending k",
                         kInt8Form, kMaxRows, &find_dot_tile, kWidth),
             kMostRows},
    .bfloat16 = {},
    .float16 = {},
};

}  // namespace octavo::cpu
#endif
