// SPDX-License-Identifier: Apache-2.0
// 4 x 16 in 4-wide vectors, 8 columns at a time: 8 accumulators, 2 of B, 1 of A fit 16 registers.
#if defined(__x86_64__)
#include <emmintrin.h>
#endif

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "backends/cpu/kernels/isa_region.hpp"
#include "backends/cpu/kernels/row_contract.hpp"
#include "octavo/numeric.hpp"

namespace octavo::cpu {
namespace {

#include "backends/cpu/kernels/rows/float_tile-inl.hpp"

using Vec4 = float __attribute__((vector_size(16), may_alias));
#include "backends/cpu/kernels/vec/lanes-inl.hpp"
#include "backends/cpu/kernels/rows/rows-inl.hpp"
inline Lanes<std::uint16_t, 4> low_halves(Lanes<std::uint32_t, 4> words) {
  return __builtin_convertvector(words, Lanes<std::uint16_t, 4>);
}
inline Lanes<std::uint8_t, 16> high_halves(Lanes<std::uint32_t, 4> a, Lanes<std::uint32_t, 4> b) {
  const Lanes<std::uint16_t, 4> halves[] = {low_halves(a >> 16), low_halves(b >> 16)};
  return vector_at<Lanes<std::uint8_t, 16>>(halves);
}
inline bool unpacked_bfloat16(const Lanes<float, 4> (&x)[4]) {
  const Lanes<float, 4> sum = x[0] + x[1] + (x[2] + x[3]);
  return sum[0] == sum[0] && sum[1] == sum[1] && sum[2] == sum[2] && sum[3] == sum[3];
}
inline Lanes<std::uint8_t, 16> bfloat16s(Lanes<float, 4> a, Lanes<float, 4> b) {
  return high_halves(round_bfloat16(reinterpret_cast<Lanes<std::uint32_t, 4>>(a)),
                     round_bfloat16(reinterpret_cast<Lanes<std::uint32_t, 4>>(b)));
}
inline void stream(Lanes<std::uint8_t, 16> bytes, void* out) {
#if defined(__x86_64__)
  _mm_stream_si128(static_cast<__m128i*>(out), reinterpret_cast<__m128i>(bytes));
#else
  std::memcpy(out, &bytes, sizeof(bytes));
#endif
}
#include "backends/cpu/kernels/rows/finish-inl.hpp"
#include "backends/cpu/kernels/vec/widths-inl.hpp"

#include "backends/cpu/kernels/codes/statistics-inl.hpp"
inline void put_saturated(Lanes<std::uint32_t, 4> a, Lanes<std::uint32_t, 4> b,
                          Lanes<std::uint32_t, 4> c, Lanes<std::uint32_t, 4> d, std::uint8_t* out,
                          bool streamed, bool to_signed) {
#if defined(__x86_64__)
  const __m128i front = _mm_packs_epi32(reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(b));
  const __m128i back = _mm_packs_epi32(reinterpret_cast<__m128i>(c), reinterpret_cast<__m128i>(d));
  const __m128i bytes = to_signed ? _mm_packs_epi16(front, back) : _mm_packus_epi16(front, back);
  if (streamed) return stream(reinterpret_cast<Lanes<std::uint8_t, 16>>(bytes), out);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), bytes);
#else
  using Ints = Lanes<std::int32_t, 4>;
  const std::int32_t least = to_signed ? -128 : 0;
  const Ints low = Ints{} + least;
  const Ints high = low + 255;
  for (auto* lane : {&a, &b, &c, &d}) {
    const Ints x = reinterpret_cast<const Ints&>(*lane);
    const Ints cut = x < low ? low : x > high ? high : x;
    *lane = reinterpret_cast<const Lanes<std::uint32_t, 4>&>(cut);
  }
  put_low_bytes(a, b, c, d, out, streamed);
#endif
}
inline bool any_below(Lanes<std::uint16_t, 8> a, Lanes<std::uint16_t, 8> a_bound,
                      Lanes<std::uint16_t, 8> b, Lanes<std::uint16_t, 8> b_bound) {
  const auto below = (a < a_bound) | (b < b_bound);
  const auto pairs = reinterpret_cast<Lanes<std::uint64_t, 2>>(below);
  return (pairs[0] | pairs[1]) != 0;
}
// Codes in halves, at most the last one, under the signs of their elements.
inline void put_signed_halves(Lanes<std::uint16_t, 8> front, Lanes<std::uint16_t, 8> back,
                              Lanes<std::uint16_t, 8> front_elements,
                              Lanes<std::uint16_t, 8> back_elements, std::uint8_t last,
                              std::uint8_t* out, bool streamed) {
  using Bytes = Lanes<std::uint8_t, 16>;
  const auto code = [&](Lanes<std::uint16_t, 8> x, Lanes<std::uint16_t, 8> element) {
    return (x < last ? x : Lanes<std::uint16_t, 8>{} + last) | ((element >> 8) & 0x80);
  };
  const Bytes bytes = even_bytes(reinterpret_cast<Bytes>(code(front, front_elements)),
                                 reinterpret_cast<Bytes>(code(back, back_elements)),
                                 std::make_index_sequence<16>());
  if (streamed) return stream(bytes, out);
  put_vector(bytes, out);
}

inline bool any_greater(Lanes<std::int32_t, 4> a, Lanes<std::int32_t, 4> b) {
  const Lanes<std::int32_t, 4> above = a > b;
  return (above[0] | above[1] | above[2] | above[3]) != 0;
}
#include "backends/cpu/kernels/rows/block_transpose-inl.hpp"
#include "backends/cpu/kernels/codes/errors-inl.hpp"
#include "backends/cpu/kernels/rows/silu-inl.hpp"
#include "backends/cpu/kernels/rows/attention-inl.hpp"
#include "backends/cpu/kernels/rows/chunk_sums_plain-inl.hpp"
#include "backends/cpu/kernels/codes/inverses-inl.hpp"
#include "backends/cpu/kernels/codes/lane_codes-inl.hpp"
#include "backends/cpu/kernels/codes/mantissa_ties-inl.hpp"
#include "backends/cpu/kernels/codes/mantissas_plain-inl.hpp"
#include "backends/cpu/kernels/rows/outliers-inl.hpp"
#include "backends/cpu/kernels/codes/powers-inl.hpp"
#include "backends/cpu/kernels/codes/quantize-inl.hpp"
#include "backends/cpu/kernels/codes/quantize_rows-inl.hpp"
#include "backends/cpu/kernels/codes/rotate-inl.hpp"
#include "backends/cpu/kernels/codes/scaled_cells-inl.hpp"
#include "backends/cpu/kernels/codes/scaled_columns-inl.hpp"
#include "backends/cpu/kernels/rows/table-inl.hpp"

OCTAVO_KERNEL void tile_4x16(std::int64_t depth, const float* a, const float* b, float* c,
                             std::int64_t ldc) noexcept {
  add_product<Vec4, 2>(depth, a, b, c, ldc, std::make_index_sequence<4>());
  add_product<Vec4, 2>(depth, a, b + 8, c + 8, ldc, std::make_index_sequence<4>());
}

}  // namespace

const Kernels kBaselineKernels =
    make_kernels<4>("4x16 tile in 4-wide vectors, exact sums through float32 in steps of 512",
                    "4x16 tile in 4-wide vectors, float32 sums in ascending k", 4, &tile_4x16);

}  // namespace octavo::cpu
