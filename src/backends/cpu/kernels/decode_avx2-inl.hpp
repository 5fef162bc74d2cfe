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
// Included inside an instruction-set region with AVX2; every including file gets its own copy.

// Codes that are finite numbers, at the least.
struct FiniteCodes {
  explicit FiniteCodes(const octavo::cpu::Float8Table& t)
      : down(word(1 << (15 - t.mantissa_bits))),
        kept(word(0x8000 | 0x7F00 >> (1 + t.mantissa_bits))),
        unit(_mm256_set1_ps(t.unit)) {}
  // Of words: what they have below the code does not matter.
  OCTAVO_INLINE __m256i words(__m256i codes) const {
    return _mm256_and_si256(_mm256_mulhi_epi16(codes, down), kept);
  }
  // Of numbers in the upper halves of dwords.
  OCTAVO_INLINE __m256 floats(__m256i words) const {
    return _mm256_mul_ps(_mm256_castsi256_ps(words), unit);
  }
  static OCTAVO_INLINE __m256i word(int bits) {
    return _mm256_set1_epi16(static_cast<std::int16_t>(bits));
  }
  __m256i down, kept;  // a product's upper half is a shift
  __m256 unit;
};

// All codes: those that are none of the numbers get the exponent of infinity, or are NaN.
struct AllCodes : FiniteCodes {
  explicit AllCodes(const octavo::cpu::Float8Table& t)
      : FiniteCodes(t),
        looked_at(word(t.negative_zero_is_nan ? 0xFF00 : 0x7F00)),
        turned(word(t.negative_zero_is_nan ? 0xFF00 : 0)),
        last(word(t.negative_zero_is_nan ? 0x7E00 : t.last_finite << 8)),
        other(word(t.negative_zero_is_nan ? 0x7FC0 : 0x7F80)) {}
  OCTAVO_INLINE __m256i words(__m256i codes) const {
    // Code 0x80 alone turned is the largest number; or magnitudes behind the last finite one.
    const __m256i place = _mm256_xor_si256(_mm256_and_si256(codes, looked_at), turned);
    const __m256i special = _mm256_and_si256(_mm256_cmpgt_epi16(place, last), other);
    return _mm256_or_si256(FiniteCodes::words(codes), special);
  }
  __m256i looked_at, turned, last, other;
};

// How far ahead codes are fetched: few rows of A leave them waiting for memory.
constexpr std::int64_t kDecodeAhead = 4096;

// Panels of 8-bit weights as panels of float32:
//
//   int8  [k / 4][j][4]  ->  [k][j]          fp8  [k / 2][j][2]  ->  [k][j]
//
// and the targets of a packer (pack-inl.hpp) that makes such panels of weights.

// Four codes of 16 columns.
struct Float8Codes {
  static constexpr std::int64_t kSize = 1, kRows = 4;
  static constexpr bool kSums = false;
  explicit Float8Codes(const octavo::cpu::Float8Table& table) : codes(table) {}
  OCTAVO_INLINE void put(char* out, std::int64_t row_bytes, const Vec::Ints& x) const {
    put_half(out, row_bytes, x.low);
    put_half(out + 32, row_bytes, x.high);
  }
  OCTAVO_INLINE void put_half(char* out, std::int64_t row_bytes, __m256i x) const {
    const __m256i even = codes.words(_mm256_slli_epi16(x, 8));
    const __m256i odd = codes.words(x);
    const __m256i upper = _mm256_set1_epi32(-0x10000);
    const auto put = [&](std::int64_t row, __m256i words) {
      _mm256_store_ps(reinterpret_cast<float*>(out + row * row_bytes), codes.floats(words));
    };
    put(0, _mm256_slli_epi32(even, 16));
    put(1, _mm256_slli_epi32(odd, 16));
    put(2, _mm256_and_si256(even, upper));
    put(3, _mm256_and_si256(odd, upper));
  }
  AllCodes codes;
};
struct Int8Codes {
  static constexpr std::int64_t kSize = 1, kRows = 4;
  static constexpr bool kSums = false;
  OCTAVO_INLINE void put(char* out, std::int64_t row_bytes, const Vec::Ints& x) const {
    put_half(out, row_bytes, x.low);
    put_half(out + 32, row_bytes, x.high);
  }
  OCTAVO_INLINE void put_half(char* out, std::int64_t row_bytes, __m256i x) const {
    const auto put = [&](std::int64_t row, __m256i number) {
      _mm256_store_ps(reinterpret_cast<float*>(out + row * row_bytes), _mm256_cvtepi32_ps(number));
    };
    put(0, _mm256_srai_epi32(_mm256_slli_epi32(x, 24), 24));
    put(1, _mm256_srai_epi32(_mm256_slli_epi32(x, 16), 24));
    put(2, _mm256_srai_epi32(_mm256_slli_epi32(x, 8), 24));
    put(3, _mm256_srai_epi32(x, 24));
  }
};

void decode_int8(const void* codes, std::int64_t steps, std::int64_t vectors,
                 void* panel) noexcept {
  const std::int64_t row_bytes = vectors * 64;
  const char* from = static_cast<const char*>(codes);
  char* out = static_cast<char*>(panel);
  for (; steps > 0; --steps, out += 4 * row_bytes) {
    for (std::int64_t v = 0; v < vectors; ++v, from += 64) {
      _mm_prefetch(from + kDecodeAhead, _MM_HINT_T0);
      Int8Codes().put(out + v * 64, row_bytes, Vec::load_ints(from));
    }
  }
}

void decode_float8(const octavo::cpu::Float8Table& table, const void* codes, std::int64_t steps,
                   std::int64_t code_vectors, std::int64_t vectors, void* panel) noexcept {
  const AllCodes all(table);
  const std::int64_t row_bytes = vectors * 64;
  const char* from = static_cast<const char*>(codes);
  char* out = static_cast<char*>(panel);
  const __m256i zero = _mm256_setzero_si256();
  for (; steps > 0; --steps, out += 2 * row_bytes) {
    for (std::int64_t v = 0; v < code_vectors; v += 2, from += 64) {
      _mm_prefetch(from + kDecodeAhead, _MM_HINT_T0);
      const Vec::Ints both = Vec::load_ints(from);
      const auto put = [&](char* place, __m256i pairs) {
        const __m256i rows[] = {all.words(_mm256_slli_epi16(pairs, 8)), all.words(pairs)};
        for (std::int64_t row = 0; row < 2; ++row, place += row_bytes) {
          auto* first = reinterpret_cast<float*>(place);
          _mm256_store_ps(first, all.floats(_mm256_unpacklo_epi16(zero, rows[row])));
          if (v + 1 == vectors) continue;
          _mm256_store_ps(first + 16, all.floats(_mm256_unpackhi_epi16(zero, rows[row])));
        }
      };
      put(out + v * 64, both.low);
      put(out + v * 64 + 32, both.high);
    }
  }
}
