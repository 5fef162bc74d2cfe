// SPDX-License-Identifier: Apache-2.0
// 64 codes of int8, four of each column, as bytes of bfloat16, looked up by vpermi2b: unpacking the
// lower halves of each 128 bits of low and high bytes makes numbers of a column's first two codes,
// unpacking the upper ones of its last two.
//
// For regions with AVX-512 BW and VBMI.
//
// Needs: Bytes, kNumbers, NumberTable
// Gives: Int8Bytes
struct Int8Bytes {
  Int8Bytes()
      : low0(_mm512_load_si512(kNumbers.low.data())),
        high0(_mm512_load_si512(kNumbers.high.data())),
        sign(_mm512_set1_epi8(static_cast<char>(0x80))) {}
  OCTAVO_INLINE Bytes decode(__m512i quads) const {
    const NumberTable* table = here();
    return look_up(table, _mm512_shuffle_epi8(quads, at(table->order, 0)));
  }
  // Codes in any order.
  OCTAVO_INLINE Bytes decode_each(__m512i codes) const { return look_up(here(), codes); }
  __m512i low0, high0, sign;

 private:
  static OCTAVO_INLINE const NumberTable* here() {
    const NumberTable* table = &kNumbers;
    __asm__ volatile(""
                     : "+r"(table));  // or the rest would be kept in registers that are not there
    return table;
  }
  template <std::size_t size>
  static OCTAVO_INLINE __m512i at(const std::array<std::uint8_t, size>& bytes, std::size_t i) {
    return _mm512_load_si512(bytes.data() + i);
  }
  OCTAVO_INLINE Bytes look_up(const NumberTable* table, __m512i codes) const {
    constexpr int kOrAnd = 0xF8;  // a | (b & c)
    const __m512i magnitudes = _mm512_abs_epi8(codes);
    const __m512i looked = _mm512_permutex2var_epi8(high0, magnitudes, at(table->high, 64));
    const __m512i high =
        _mm512_mask_mov_epi8(looked, _mm512_movepi8_mask(magnitudes), at(table->high_of_128, 0));
    return {_mm512_permutex2var_epi8(low0, magnitudes, at(table->low, 64)),
            _mm512_ternarylogic_epi64(high, codes, sign, kOrAnd)};
  }
};
