// SPDX-License-Identifier: Apache-2.0
// What the AVX-512 kernels share.
//
// Needs: bfloat16s, ChunkSums, Lanes, Mantissas, put_vector, round_bfloat16, signed_bytes,
//        unpacked_bfloat16, vector_at
// Gives: any_below, any_greater, fused, half_to_float, high_halves, kLanesWithSigns, kTable,
//        looked_up, put_bytes, put_low_bytes, put_lower_halves, put_saturated, put_signed_halves,
//        put_with_signs, stream, subtract_saturated, sum_of_halves, wide_halves
#include "backends/cpu/kernels/rows/float_tile-inl.hpp"
#include "backends/cpu/kernels/rows/rows-inl.hpp"

using Vec16 = float __attribute__((vector_size(64), may_alias));
inline void stream(Lanes<std::uint8_t, 64> bytes, void* out) {
  _mm512_stream_si512(static_cast<__m512i*>(out), reinterpret_cast<__m512i>(bytes));
}
inline Lanes<std::uint8_t, 64> high_halves(Lanes<std::uint32_t, 16> a, Lanes<std::uint32_t, 16> b) {
  alignas(64) static constexpr std::uint16_t kUpper[] = {1,  3,  5,  7,  9,  11, 13, 15, 17, 19, 21,
                                                         23, 25, 27, 29, 31, 33, 35, 37, 39, 41, 43,
                                                         45, 47, 49, 51, 53, 55, 57, 59, 61, 63};
  return reinterpret_cast<Lanes<std::uint8_t, 64>>(_mm512_permutex2var_epi16(
      reinterpret_cast<__m512i>(a), _mm512_load_si512(kUpper), reinterpret_cast<__m512i>(b)));
}
#include "backends/cpu/kernels/rows/finish-inl.hpp"
inline Lanes<std::uint32_t, 16> wide_halves(Lanes<std::uint16_t, 16> halves) {
  return reinterpret_cast<Lanes<std::uint32_t, 16>>(
      _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(halves)));
}
inline Lanes<float, 16> half_to_float(Lanes<std::uint16_t, 16> codes) {
  return reinterpret_cast<Lanes<float, 16>>(_mm512_cvtph_ps(reinterpret_cast<__m256i>(codes)));
}
// Where the low halves of two vectors go: the first vector's before the second's, or in turn.
alignas(64) inline constexpr std::uint16_t kFrontAndBack[] = {
    0,  2,  4,  6,  8,  10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30,
    32, 34, 36, 38, 40, 42, 44, 46, 48, 50, 52, 54, 56, 58, 60, 62};
alignas(64) inline constexpr std::uint16_t kEvenAndOdd[] = {
    0,  32, 2,  34, 4,  36, 6,  38, 8,  40, 10, 42, 12, 44, 14, 46,
    16, 48, 18, 50, 20, 52, 22, 54, 24, 56, 26, 58, 28, 60, 30, 62};
template <bool in_turn>
inline __m512i low_halves(Lanes<std::uint32_t, 16> a, Lanes<std::uint32_t, 16> b) {
  return _mm512_permutex2var_epi16(reinterpret_cast<__m512i>(a),
                                   _mm512_load_si512(in_turn ? kEvenAndOdd : kFrontAndBack),
                                   reinterpret_cast<__m512i>(b));
}
inline void put_bytes(__m512i bytes, std::uint8_t* out, bool streamed) {
  if (streamed) {
    stream(reinterpret_cast<Lanes<std::uint8_t, 64>>(bytes), out);
  } else {
    _mm512_storeu_si512(out, bytes);
  }
}
// Packing goes by quarters of a vector: those of each source lie apart afterwards.
inline __m512i packed_bytes(__m512i front, __m512i back) {
  const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
  return _mm512_permutexvar_epi64(order, _mm512_packus_epi16(front, back));
}
inline void put_low_bytes(Lanes<std::uint32_t, 16> a, Lanes<std::uint32_t, 16> b,
                          Lanes<std::uint32_t, 16> c, Lanes<std::uint32_t, 16> d, std::uint8_t* out,
                          bool streamed) {
  const __m512i byte = _mm512_set1_epi16(0xFF);
  put_bytes(packed_bytes(_mm512_and_si512(low_halves<false>(a, b), byte),
                         _mm512_and_si512(low_halves<false>(c, d), byte)),
            out, streamed);
}
inline void put_saturated(Lanes<std::uint32_t, 16> a, Lanes<std::uint32_t, 16> b,
                          Lanes<std::uint32_t, 16> c, Lanes<std::uint32_t, 16> d, std::uint8_t* out,
                          bool streamed, bool to_signed) {
  const __m512i front =
      _mm512_packs_epi32(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b));
  const __m512i back =
      _mm512_packs_epi32(reinterpret_cast<__m512i>(c), reinterpret_cast<__m512i>(d));
  const __m512i bytes =
      to_signed ? _mm512_packs_epi16(front, back) : _mm512_packus_epi16(front, back);
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  put_bytes(_mm512_permutexvar_epi32(order, bytes), out, streamed);
}
// The lower halves of even and odd elements in turn, plus zero points in all halves.
inline void put_lower_halves(Lanes<std::uint32_t, 16> a, Lanes<std::uint32_t, 16> b,
                             Lanes<std::uint32_t, 16> c, Lanes<std::uint32_t, 16> d,
                             Lanes<std::uint32_t, 16> front_azp, Lanes<std::uint32_t, 16> back_azp,
                             std::uint8_t* out, bool streamed, bool to_signed) {
  const __m512i front =
      _mm512_adds_epi16(low_halves<true>(a, b), reinterpret_cast<__m512i>(front_azp));
  const __m512i back =
      _mm512_adds_epi16(low_halves<true>(c, d), reinterpret_cast<__m512i>(back_azp));
  const __m512i bytes =
      to_signed ? _mm512_packs_epi16(front, back) : _mm512_packus_epi16(front, back);
  put_bytes(_mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), bytes), out,
            streamed);
}
inline Lanes<float, 16> fused(Lanes<float, 16> a, Lanes<float, 16> b, Lanes<float, 16> c) {
  return reinterpret_cast<Lanes<float, 16>>(_mm512_fmadd_ps(
      reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b), reinterpret_cast<__m512>(c)));
}
// In each lane, the lower half times `lower` and the upper half times `upper`, both signed.
inline Lanes<std::uint32_t, 16> sum_of_halves(Lanes<std::uint32_t, 16> halves, int lower,
                                              int upper) {
  return reinterpret_cast<Lanes<std::uint32_t, 16>>(_mm512_madd_epi16(
      reinterpret_cast<__m512i>(halves), _mm512_set1_epi32((upper << 16) | lower)));
}
// The second bytes of lanes, at most `last`, of a and b (c and d) in turn or one after the other,
// under the signs of 64 elements of so many bytes.
template <std::int64_t bytes, bool in_turn>
inline void put_with_signs(Lanes<std::uint32_t, 16> a, Lanes<std::uint32_t, 16> b,
                           Lanes<std::uint32_t, 16> c, Lanes<std::uint32_t, 16> d,
                           std::uint8_t last, const char* elements, std::uint8_t* out,
                           bool streamed) {
  put_bytes(signed_bytes<bytes, in_turn>(a, b, c, d, last, elements), out, streamed);
}
inline constexpr int kLanesWithSigns = 16;
inline Lanes<std::uint16_t, 32> subtract_saturated(Lanes<std::uint16_t, 32> a,
                                                   Lanes<std::uint16_t, 32> b) {
  return reinterpret_cast<Lanes<std::uint16_t, 32>>(
      _mm512_subs_epu16(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
}
// Is one of a below its bound, or one of b?
inline bool any_below(Lanes<std::uint16_t, 32> a, Lanes<std::uint16_t, 32> a_bound,
                      Lanes<std::uint16_t, 32> b, Lanes<std::uint16_t, 32> b_bound) {
  return (_mm512_cmplt_epu16_mask(reinterpret_cast<__m512i>(a),
                                  reinterpret_cast<__m512i>(a_bound)) |
          _mm512_cmplt_epu16_mask(reinterpret_cast<__m512i>(b),
                                  reinterpret_cast<__m512i>(b_bound))) != 0;
}
inline Lanes<std::uint16_t, 32> looked_up(Lanes<std::uint16_t, 32> table,
                                          Lanes<std::uint16_t, 32> places) {
  return reinterpret_cast<Lanes<std::uint16_t, 32>>(_mm512_permutexvar_epi16(
      reinterpret_cast<__m512i>(places), reinterpret_cast<__m512i>(table)));
}
inline bool any_below(Lanes<std::uint16_t, 32> a, Lanes<std::uint16_t, 32> bound) {
  return _mm512_cmplt_epu16_mask(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(bound)) !=
         0;
}
// Codes in halves, at most the last one, under the signs of their elements.
inline void put_signed_halves(Lanes<std::uint16_t, 32> front, Lanes<std::uint16_t, 32> back,
                              Lanes<std::uint16_t, 32> front_elements,
                              Lanes<std::uint16_t, 32> back_elements, std::uint8_t last,
                              std::uint8_t* out, bool streamed) {
  constexpr int kOrSecondAndThird = 0xF8;
  const __m512i codes = _mm512_min_epu8(
      _mm512_packus_epi16(reinterpret_cast<__m512i>(front), reinterpret_cast<__m512i>(back)),
      _mm512_set1_epi8(static_cast<char>(last)));
  const __m512i signs = _mm512_packs_epi16(reinterpret_cast<__m512i>(front_elements),
                                           reinterpret_cast<__m512i>(back_elements));
  const __m512i bytes =
      _mm512_ternarylogic_epi32(codes, signs, _mm512_set1_epi8(-128), kOrSecondAndThird);
  put_bytes(_mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), bytes), out,
            streamed);
}
#include "backends/cpu/kernels/codes/statistics-inl.hpp"

inline bool any_greater(Lanes<std::int32_t, 16> a, Lanes<std::int32_t, 16> b) {
  return _mm512_cmpgt_epi32_mask(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)) != 0;
}
#include "backends/cpu/kernels/rows/block_transpose-inl.hpp"
#include "backends/cpu/kernels/codes/errors-inl.hpp"
#include "backends/cpu/kernels/rows/silu-inl.hpp"
#include "backends/cpu/kernels/rows/attention-inl.hpp"
#include "backends/cpu/kernels/codes/inverses-inl.hpp"
#include "backends/cpu/kernels/codes/lane_codes-inl.hpp"
#include "backends/cpu/kernels/codes/mantissa_ties-inl.hpp"
#include "backends/cpu/kernels/rows/outliers-inl.hpp"
#include "backends/cpu/kernels/codes/powers-inl.hpp"
#include "backends/cpu/kernels/codes/quantize-inl.hpp"
#include "backends/cpu/kernels/codes/quantize_rows-inl.hpp"
#include "backends/cpu/kernels/codes/rotate-inl.hpp"
#include "backends/cpu/kernels/codes/scaled_cells-inl.hpp"
#include "backends/cpu/kernels/codes/scaled_columns-inl.hpp"
#include "backends/cpu/kernels/rows/table-inl.hpp"

OCTAVO_KERNEL void tile_8x16(std::int64_t depth, const float* a, const float* b, float* c,
                             std::int64_t ldc) noexcept {
  add_product<Vec16, 1>(depth, a, b, c, ldc, std::make_index_sequence<8>());
}

constexpr Kernels kTable =
    make_kernels<16>("8x16 tile, AVX-512, exact sums through float32 in steps of 512",
                     "8x16 tile, AVX-512, float32 sums in ascending k", 8, &tile_8x16);
