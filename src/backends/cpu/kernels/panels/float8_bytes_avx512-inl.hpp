// SPDX-License-Identifier: Apache-2.0
// 64 codes of fp8 as bytes of bfloat16, looked up by vpermi2b, but a 0x80 that is NaN: unpacking
// the low and high bytes of a half of each 128 bits makes numbers of them.
//
// For regions with AVX-512 BW and VBMI.
//
// Needs: nothing
// Gives: Bytes, eights_in_turns, Float8Bytes, interleaved, NumberLines
struct Bytes {
  __m512i low, high;
};

// 64 numbers in the order of their codes, whose bytes are those of eights_in_turns.
struct NumberLines {
  __m512i front, back;
};
inline __m512i eights_in_turns(__m512i codes) {
  return _mm512_permutexvar_epi64(_mm512_set_epi64(7, 3, 6, 2, 5, 1, 4, 0), codes);
}
inline NumberLines interleaved(const Bytes& bytes) {
  return {_mm512_unpacklo_epi8(bytes.low, bytes.high), _mm512_unpackhi_epi8(bytes.low, bytes.high)};
}

struct Float8Bytes {
  explicit Float8Bytes(const octavo::cpu::Float8Table& t)
      : low0(_mm512_load_si512(t.low.data())),
        high0(_mm512_load_si512(t.high.data())),
        high1(_mm512_load_si512(t.high.data() + 64)),
        sign(_mm512_set1_epi8(static_cast<char>(0x80))),
        low1(t.low.data() + 64) {}
  Bytes decode(__m512i codes) const {
    constexpr int kOrAnd = 0xF8;  // a | (b & c)
    const __m512i high = _mm512_permutex2var_epi8(high0, codes, high1);
    const std::uint8_t* place = low1;
    __asm__ volatile("" : "+r"(place));  // or it would be kept in a register that is not there
    return {_mm512_permutex2var_epi8(low0, codes, _mm512_load_si512(place)),
            _mm512_ternarylogic_epi64(high, codes, sign, kOrAnd)};
  }
  __m512i low0, high0, high1, sign;
  const std::uint8_t* low1;
};
