// SPDX-License-Identifier: Apache-2.0
// 64 codes from the second bytes of lanes, at most the last one, and on top of them the signs of
// their elements, as signed_bytes_avx512-inl.hpp has them: bytes are picked in place.
//
// For regions with VBMI.
//
// Needs: Lanes, Mantissas
// Gives: signed_bytes

// Of two vectors of lanes, bytes of every lane: in turn or one vector after the other.
template <std::uint8_t byte, bool in_turn>
struct LaneBytes {
  alignas(64) std::uint8_t at[64];
  constexpr LaneBytes() : at{} {
    for (std::size_t i = 0; i < 32; ++i) {
      const std::size_t lane = in_turn ? i / 2 : i % 16;
      const bool second = in_turn ? i % 2 != 0 : i >= 16;
      at[i] = at[i + 32] = static_cast<std::uint8_t>(4 * lane + byte + (second ? 64 : 0));
    }
  }
};
template <std::uint8_t byte, bool in_turn>
inline constexpr LaneBytes<byte, in_turn> kLaneBytes{};

template <std::uint8_t byte, bool in_turn>
inline __m512i lane_bytes(__m512i a, __m512i b, __m512i c, __m512i d) {
  const __m512i places = _mm512_load_si512(kLaneBytes<byte, in_turn>.at);
  const __m512i back = _mm512_permutex2var_epi8(c, places, d);
  return _mm512_inserti64x4(_mm512_permutex2var_epi8(a, places, b), _mm512_castsi512_si256(back),
                            1);
}
template <std::int64_t bytes>
inline __m512i signs_of(const char* elements) {
  const __m512i first = _mm512_loadu_si512(elements);
  const __m512i second = _mm512_loadu_si512(elements + 64);
  if constexpr (bytes == 2) {
    const __m512i odd = _mm512_load_si512(Mantissas<16>::kOddPlaces.at);
    return _mm512_permutex2var_epi8(first, odd, second);
  } else {
    return lane_bytes<3, false>(first, second, _mm512_loadu_si512(elements + 128),
                                _mm512_loadu_si512(elements + 192));
  }
}
template <std::int64_t bytes, bool in_turn>
inline __m512i signed_bytes(Lanes<std::uint32_t, 16> a, Lanes<std::uint32_t, 16> b,
                            Lanes<std::uint32_t, 16> c, Lanes<std::uint32_t, 16> d,
                            std::uint8_t last, const char* elements) {
  constexpr int kOrSecondAndThird = 0xF8;
  const __m512i codes =
      lane_bytes<1, in_turn>(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b),
                             reinterpret_cast<__m512i>(c), reinterpret_cast<__m512i>(d));
  return _mm512_ternarylogic_epi32(
      _mm512_min_epu8(codes, _mm512_set1_epi8(static_cast<char>(last))), signs_of<bytes>(elements),
      _mm512_set1_epi8(-128), kOrSecondAndThird);
}
