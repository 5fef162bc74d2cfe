// SPDX-License-Identifier: Apache-2.0
// fp8 codes as float32, exactly, in AVX2. A code in the upper byte of a word, shifted down until
// its exponent begins where that of a bfloat16 does, is a bfloat16 of its number but for a power of
// two:
//
//   e4m3    [s eeee mmm 00000000]  ->  [s 0000eeee mmm0000]  =  number * 2^(bias - 127)
//   e5m2    [s eeeee mm 00000000]  ->  [s 000eeeee mm00000]
//
// Subnormal codes become subnormal numbers, which the product with that power makes normal.
//
// Needs: nothing
// Gives: AllCodes, FiniteCodes, OtherCodes

// Codes that are finite numbers, at the least. Sums need the registers, so that constants stay in
// memory; but the one that every number is multiplied by, or loads would be what takes time.
struct FiniteCodes {
  explicit FiniteCodes(const octavo::cpu::Float8Table& t)
      : table(&t), unit(_mm256_load_ps(t.unit.data())) {}
  // Of words: what they have below the code does not matter. A product's upper half is a shift.
  OCTAVO_INLINE __m256i words(__m256i codes) const {
    const octavo::cpu::Float8Table* t = hidden(table);
    return _mm256_and_si256(_mm256_mulhi_epi16(codes, all_of(t->down)), all_of(t->kept));
  }
  // Of numbers in the upper halves of dwords. x u + x is x u, as u is 2^111 at the least, and zeros
  // keep their signs: a product alone of a subnormal number takes Zen 3 five cycles, a fused one
  // none.
  OCTAVO_INLINE __m256 floats(__m256i words) const {
    const __m256 x = _mm256_castsi256_ps(words);
    return _mm256_fmadd_ps(x, factor(), x);
  }
  // A register, or the table's, where the compiler has no register left.
  OCTAVO_INLINE __m256 factor() const {
#if defined(__clang__)
    return _mm256_load_ps(hidden(table)->unit.data());
#else
    return unit;
#endif
  }
  // Pairs of bytes: the first, or the second, in the upper one.
  template <int step>
  static OCTAVO_INLINE __m256i upper(__m256i pairs) {
    return step == 0 ? _mm256_slli_epi16(pairs, 8) : pairs;
  }
  static OCTAVO_INLINE __m256i all_of(const std::array<std::uint16_t, 16>& words) {
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(words.data()));
  }
  // Not kept in registers; clang would decode more at a time, too, than fits them.
  static OCTAVO_INLINE const octavo::cpu::Float8Table* hidden(const octavo::cpu::Float8Table* t) {
#if defined(__clang__)
    __asm__ volatile("" : "+r"(t));
#else
    __asm__("" : "+r"(t));
#endif
    return t;
  }
  static OCTAVO_INLINE __m256i word(int bits) {
    return _mm256_set1_epi16(static_cast<std::int16_t>(bits));
  }
  const octavo::cpu::Float8Table* table;
  __m256 unit;
};

// Looks for codes that are no finite numbers.
struct OtherCodes {
  explicit OtherCodes(const octavo::cpu::Float8Table& t)
      : looked_at(byte(t.negative_zero_is_nan ? 0xFF : 0x7F)),
        transposed(byte(t.negative_zero_is_nan ? 0xFF : 0)),
        last(byte(t.negative_zero_is_nan ? 0x7E : t.last_finite)),
        most(_mm256_setzero_si256()) {}
  // Code 0x80 alone turned is the largest number; or magnitudes behind the last finite one.
  OCTAVO_INLINE void look(__m256i codes) {
    most = _mm256_max_epi8(most, _mm256_xor_si256(_mm256_and_si256(codes, looked_at), transposed));
  }
  OCTAVO_INLINE bool found() const {
    return _mm256_movemask_epi8(_mm256_cmpgt_epi8(most, last)) != 0;
  }
  static OCTAVO_INLINE __m256i byte(int bits) { return _mm256_set1_epi8(static_cast<char>(bits)); }
  __m256i looked_at, transposed, last, most;
};

// All codes: those that are none of the numbers get the exponent of infinity, or are NaN.
struct AllCodes : FiniteCodes {
  explicit AllCodes(const octavo::cpu::Float8Table& t)
      : FiniteCodes(t),
        looked_at(word(t.negative_zero_is_nan ? 0xFF00 : 0x7F00)),
        transposed(word(t.negative_zero_is_nan ? 0xFF00 : 0)),
        last(word(t.negative_zero_is_nan ? 0x7E00 : t.last_finite << 8)),
        other(word(t.negative_zero_is_nan ? 0x7FC0 : 0x7F80)) {}
  OCTAVO_INLINE __m256i words(__m256i codes) const {
    // Code 0x80 alone turned is the largest number; or magnitudes behind the last finite one.
    const __m256i place = _mm256_xor_si256(_mm256_and_si256(codes, looked_at), transposed);
    const __m256i special = _mm256_and_si256(_mm256_cmpgt_epi16(place, last), other);
    return _mm256_or_si256(FiniteCodes::words(codes), special);
  }
  __m256i looked_at, transposed, last, other;
};
