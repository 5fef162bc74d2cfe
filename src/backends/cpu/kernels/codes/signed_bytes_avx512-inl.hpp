// SPDX-License-Identifier: Apache-2.0
// 64 codes from the second bytes of lanes, at most the last one, and on top of them the signs of
// their elements, by packing:
//
//   lanes      [.. .. c0 ..][.. .. c1 ..] ...     of a and b (c and d) in turn or one after the
//   other elements   [s. ..][s. ..] ...                 of 2 or 4 bytes result     [s c0][s c1] ...
//
// low_halves is defined further on, by rows_avx512-inl.hpp.
//
// Needs: Lanes, vector_at
// Gives: signed_bytes

template <bool in_turn>
inline __m512i low_halves(Lanes<std::uint32_t, 16> a, Lanes<std::uint32_t, 16> b);

// Two vectors of 32 halves whose upper bits are the signs.
template <std::int64_t bytes>
inline __m512i signs_of(const char* elements) {
  if constexpr (bytes == 2) return _mm512_loadu_si512(elements);
  const auto front = vector_at<Lanes<std::uint32_t, 16>>(elements);
  const auto back = vector_at<Lanes<std::uint32_t, 16>>(elements + 64);
  return low_halves<false>(front >> 16, back >> 16);
}
template <std::int64_t bytes, bool in_turn>
inline __m512i signed_bytes(Lanes<std::uint32_t, 16> a, Lanes<std::uint32_t, 16> b,
                            Lanes<std::uint32_t, 16> c, Lanes<std::uint32_t, 16> d,
                            std::uint8_t last, const char* elements) {
  constexpr int kOrSecondAndThird = 0xF8;
  // Packing goes by quarters of a vector.
  const __m512i codes =
      _mm512_min_epu8(_mm512_packus_epi16(_mm512_srli_epi16(low_halves<in_turn>(a, b), 8),
                                          _mm512_srli_epi16(low_halves<in_turn>(c, d), 8)),
                      _mm512_set1_epi8(static_cast<char>(last)));
  const __m512i signs =
      _mm512_packs_epi16(signs_of<bytes>(elements), signs_of<bytes>(elements + 32 * bytes));
  return _mm512_permutexvar_epi64(
      _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7),
      _mm512_ternarylogic_epi32(codes, signs, _mm512_set1_epi8(-128), kOrSecondAndThird));
}
