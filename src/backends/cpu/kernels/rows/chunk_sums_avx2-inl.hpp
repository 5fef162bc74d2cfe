// SPDX-License-Identifier: Apache-2.0
// Attention's two products of codes in pairs of words: vpmaddwd, which is exact.
//
// For regions with AVX2.
//
// Needs: nothing
// Gives: ChunkSums

struct ChunkSums {
  // Sixteen codes as words; zeros from `count` on.
  static inline __m256i words(const std::int8_t* codes, std::int64_t count) {
    if (count >= 16) {
      return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes)));
    }
    alignas(16) std::int8_t part[16]{};
    std::memcpy(part, codes, static_cast<std::size_t>(count));
    return _mm256_cvtepi8_epi16(_mm_load_si128(reinterpret_cast<const __m128i*>(part)));
  }

  static void scores(const std::int8_t* q, std::int64_t rows, std::int64_t depth,
                     const std::int8_t* const* keys, std::int64_t tokens,
                     std::int32_t* sums) noexcept {
    for (std::int64_t j = 0; j < tokens; j += 4) {
      for (std::int64_t r = 0; r < rows; ++r) {
        const std::int8_t* row = q + r * octavo::cpu::kHeadElements;
        __m256i sum[4];
        for (__m256i& each : sum) each = _mm256_setzero_si256();
        for (std::int64_t d = 0; d < depth; d += 16) {
          const __m256i query = words(row + d, 16);
          for (int i = 0; i < 4; ++i) {
            const __m256i products = _mm256_madd_epi16(query, words(keys[j + i] + d, depth - d));
            sum[i] = _mm256_add_epi32(sum[i], products);
          }
        }
        const __m256i pairs =
            _mm256_hadd_epi32(_mm256_hadd_epi32(sum[0], sum[1]), _mm256_hadd_epi32(sum[2], sum[3]));
        const __m128i four =
            _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(sums + r * octavo::cpu::kChunkTokens + j),
                         four);
      }
    }
  }

  static void values(const std::int16_t* weights, std::int64_t rows, std::int64_t depth,
                     const std::int8_t* const* values, std::int64_t tokens,
                     std::int32_t* sums) noexcept {
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::int16_t* row = weights + r * octavo::cpu::kChunkTokens;
      for (std::int64_t d = 0; d < depth; d += 16) {
        __m256i front = _mm256_setzero_si256();
        __m256i back = _mm256_setzero_si256();
        for (std::int64_t j = 0; j < tokens; j += 2) {
          std::int32_t pair;
          std::memcpy(&pair, row + j, sizeof(pair));
          const __m256i weight = _mm256_set1_epi32(pair);
          const __m256i even = words(values[j] + d, depth - d);
          const __m256i odd = words(values[j + 1] + d, depth - d);
          front =
              _mm256_add_epi32(front, _mm256_madd_epi16(weight, _mm256_unpacklo_epi16(even, odd)));
          back =
              _mm256_add_epi32(back, _mm256_madd_epi16(weight, _mm256_unpackhi_epi16(even, odd)));
        }
        // Unpacking goes by halves of a vector.
        auto* to = reinterpret_cast<__m256i*>(sums + r * octavo::cpu::kHeadElements + d);
        _mm256_storeu_si256(to, _mm256_permute2x128_si256(front, back, 0x20));
        _mm256_storeu_si256(to + 1, _mm256_permute2x128_si256(front, back, 0x31));
      }
    }
  }
};
