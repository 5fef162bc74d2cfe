// SPDX-License-Identifier: Apache-2.0
// Panels of 8-bit weights as panels of float32 (float(code), exactly):
//
//   int8  [k / 4][j][4]  ->  [k][j]          fp8  [k / 2][j][2]  ->  [k][j]
//
// and the targets of a packer (pack-inl.hpp) that makes such panels of weights.
//
// Needs: Vec
// Gives: decode_float8, decode_int8, Float8Codes, Int8Codes, kDecodeAhead
#include "backends/cpu/kernels/panels/float8_codes_avx2-inl.hpp"

// How far ahead codes are fetched: few rows of A leave them waiting for memory.
constexpr std::int64_t kDecodeAhead = 4096;

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
