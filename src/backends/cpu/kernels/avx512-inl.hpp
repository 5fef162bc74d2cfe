// SPDX-License-Identifier: Apache-2.0
// What the AVX-512 kernels share. Included inside an instruction-set region after lanes-inl.hpp,
// plain_bfloat16 and put_bfloat16 (finish-inl.hpp says what they do).
#include "backends/cpu/kernels/float_tile-inl.hpp"
#include "backends/cpu/kernels/rows-inl.hpp"

using Vec16 = float __attribute__((vector_size(64), may_alias));
inline void put_high_halves(Lanes<std::uint32_t, 16> a, Lanes<std::uint32_t, 16> b, void* out) {
  alignas(64) static constexpr std::uint16_t kUpper[] = {1,  3,  5,  7,  9,  11, 13, 15, 17, 19, 21,
                                                         23, 25, 27, 29, 31, 33, 35, 37, 39, 41, 43,
                                                         45, 47, 49, 51, 53, 55, 57, 59, 61, 63};
  _mm512_storeu_si512(
      out, _mm512_permutex2var_epi16(reinterpret_cast<__m512i>(a), _mm512_load_si512(kUpper),
                                     reinterpret_cast<__m512i>(b)));
}
#include "backends/cpu/kernels/finish-inl.hpp"
inline Lanes<std::uint32_t, 16> wide_halves(Lanes<std::uint16_t, 16> halves) {
  return reinterpret_cast<Lanes<std::uint32_t, 16>>(
      _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(halves)));
}
inline Lanes<float, 16> half_to_float(Lanes<std::uint16_t, 16> codes) {
  return reinterpret_cast<Lanes<float, 16>>(_mm512_cvtph_ps(reinterpret_cast<__m256i>(codes)));
}
inline void put_low_bytes(Lanes<std::uint32_t, 16> a, Lanes<std::uint32_t, 16> b,
                          Lanes<std::uint32_t, 16> c, Lanes<std::uint32_t, 16> d,
                          std::uint8_t* out) {
  _mm512_mask_cvtepi32_storeu_epi8(out, 0xFFFF, reinterpret_cast<__m512i>(a));
  _mm512_mask_cvtepi32_storeu_epi8(out + 16, 0xFFFF, reinterpret_cast<__m512i>(b));
  _mm512_mask_cvtepi32_storeu_epi8(out + 32, 0xFFFF, reinterpret_cast<__m512i>(c));
  _mm512_mask_cvtepi32_storeu_epi8(out + 48, 0xFFFF, reinterpret_cast<__m512i>(d));
}
#include "backends/cpu/kernels/quantize-inl.hpp"

void finish_tile(const FinishTile& tile) noexcept { finish<16>(tile); }

OCTAVO_KERNEL void tile_8x16(std::int64_t depth, const float* a, const float* b, float* c,
                             std::int64_t ldc) noexcept {
  add_product<Vec16, 1>(depth, a, b, c, ldc, std::make_index_sequence<8>());
}

constexpr Kernels kTable{"8x16 tile, AVX-512, exact sums through float32 in steps of 512",
                         "8x16 tile, AVX-512, float32 sums in ascending k",
                         8,
                         &tile_8x16,
                         &widen_row,
                         &narrow_row,
                         &finish_tile,
                         &Quantize<16>::codes,
                         &Quantize<16>::absmax,
                         &Quantize<16>::range};
