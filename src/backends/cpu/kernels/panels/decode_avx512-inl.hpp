// SPDX-License-Identifier: Apache-2.0
// Panels of 8-bit weights as panels of wider elements (float(code), exactly):
//
//   int8  [k / 4][j][4]  ->  bfloat16 [k / 2][j][2]  or  float32 [k][j]
//   fp8   [k / 2][j][2]  ->  the same, by tables of bfloat16 bytes
//
// and the targets of a packer (pack-inl.hpp) that makes such panels of weights.
//
// For regions with AVX-512 BW. `Decoded` stores what one vector becomes:
//   Decoded::store_pairs(out, row_bytes, words)  bfloat16 of two rows of 16 columns, in pairs
//   Decoded::store_numbers(out, row_bytes, x)    float32 of four rows, x[0] to x[3]
//
// Needs: Decoded
// Gives: decode_float8, decode_int8, Float8Codes, Int8Codes, kDecodeAhead

// How far ahead codes are fetched: few rows of A leave them waiting for memory.
constexpr std::int64_t kDecodeAhead = 4096;

// 32 codes, zero-extended to words, as bfloat16: 64 magnitudes in two registers, and 64 more.
struct WordTable {
  explicit WordTable(const octavo::cpu::Float8Table& t)
      : nan(t.negative_zero_is_nan ? ~__mmask32{0} : __mmask32{0}) {
    alignas(64) std::uint16_t words[128];
    for (std::size_t i = 0; i < 128; ++i) {
      words[i] = static_cast<std::uint16_t>(t.low[i] | t.high[i] << 8);
    }
    for (std::size_t i = 0; i < 4; ++i) part[i] = _mm512_load_si512(words + 32 * i);
  }
  __m512i decode(__m512i codes) const {
    const __m512i small = _mm512_permutex2var_epi16(part[0], codes, part[1]);
    const __m512i large = _mm512_permutex2var_epi16(part[2], codes, part[3]);
    const __mmask32 is_large = _mm512_test_epi16_mask(codes, _mm512_set1_epi16(0x40));
    const __m512i magnitude = _mm512_mask_mov_epi16(small, is_large, large);
    constexpr int kOrAnd = 0xF8;  // a | (b & c)
    const __m512i value = _mm512_ternarylogic_epi64(magnitude, _mm512_slli_epi16(codes, 8),
                                                    _mm512_set1_epi16(-0x8000), kOrAnd);
    const __mmask32 is_nan = _mm512_mask_cmpeq_epi16_mask(nan, codes, _mm512_set1_epi16(0x80));
    return _mm512_mask_mov_epi16(value, is_nan, _mm512_set1_epi16(0x7FC0));
  }
  __m512i part[4];
  __mmask32 nan;
};

[[maybe_unused]] void decode_float8(const octavo::cpu::Float8Table& table, const void* codes,
                                    std::int64_t steps, std::int64_t code_vectors,
                                    std::int64_t vectors, void* panel) noexcept {
  const WordTable words(table);
  const std::int64_t row_bytes = vectors * 64;
  const char* from = static_cast<const char*>(codes);
  char* out = static_cast<char*>(panel);
  for (; steps > 0; --steps, out += Decoded::kPairRows * row_bytes) {
    for (std::int64_t v = 0; v < code_vectors; v += 2, from += 64) {
      _mm_prefetch(from + kDecodeAhead, _MM_HINT_T0);
      const __m512i both = _mm512_load_si512(from);
      const __m512i zero = _mm512_setzero_si512();
      Decoded::store_pairs(out + v * 64, row_bytes, words.decode(_mm512_unpacklo_epi8(both, zero)));
      if (v + 1 == vectors) continue;
      Decoded::store_pairs(out + (v + 1) * 64, row_bytes,
                           words.decode(_mm512_unpackhi_epi8(both, zero)));
    }
  }
}

// Weights that are packed during the call: four codes of 16 columns.
struct Float8Codes {
  static constexpr std::int64_t kSize = 1, kRows = 2 * Decoded::kPairRows;
  static constexpr bool kSums = false;
  explicit Float8Codes(const octavo::cpu::Float8Table& table) : words(table) {}
  OCTAVO_INLINE void put(char* out, std::int64_t row_bytes, __m512i codes) const {
    // Bytes 0 and 1 of each column as words; bytes 2 and 3. The high bit of an index makes a zero.
    const __m512i front = _mm512_set4_epi32(-0x7FF27FF4, -0x7FF67FF8, -0x7FFA7FFC, -0x7FFE8000);
    const __m512i back = _mm512_add_epi32(front, _mm512_set1_epi32(0x00020002));
    Decoded::store_pairs(out, row_bytes, words.decode(_mm512_shuffle_epi8(codes, front)));
    Decoded::store_pairs(out + Decoded::kPairRows * row_bytes, row_bytes,
                         words.decode(_mm512_shuffle_epi8(codes, back)));
  }
  WordTable words;
};
struct Int8Codes {
  static constexpr std::int64_t kSize = 1, kRows = 2 * Decoded::kPairRows;
  static constexpr bool kSums = false;
  OCTAVO_INLINE void put(char* out, std::int64_t row_bytes, __m512i codes) const {
    const __m512i x[] = {_mm512_srai_epi32(_mm512_slli_epi32(codes, 24), 24),
                         _mm512_srai_epi32(_mm512_slli_epi32(codes, 16), 24),
                         _mm512_srai_epi32(_mm512_slli_epi32(codes, 8), 24),
                         _mm512_srai_epi32(codes, 24)};
    Decoded::store_numbers(out, row_bytes, x);
  }
};

void decode_int8(const void* codes, std::int64_t steps, std::int64_t vectors,
                 void* panel) noexcept {
  const std::int64_t row_bytes = vectors * 64;
  const char* from = static_cast<const char*>(codes);
  char* out = static_cast<char*>(panel);
  for (; steps > 0; --steps, out += 2 * Decoded::kPairRows * row_bytes) {
    for (std::int64_t v = 0; v < vectors; ++v, from += 64) {
      _mm_prefetch(from + kDecodeAhead, _MM_HINT_T0);
      Int8Codes().put(out + v * 64, row_bytes, _mm512_load_si512(from));
    }
  }
}
