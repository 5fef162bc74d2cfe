// SPDX-License-Identifier: Apache-2.0
// Attention's two products of codes in fours of bytes: vpdpbusd, whose first factor has no sign.
//
//   keys    code + 128, and sums begin at -128 times the query's; a tile is 16 sums, of 16 tokens
//           and one row to 4 tokens and 4 rows
//   values  four tokens' bytes beside each other; a weight of 15 bits is 256 times its upper byte
//           and its lower one
//
// For regions with AVX-512 F, BW and VNNI.
//
// Needs: nothing
// Gives: ChunkSums

#define OCTAVO_INLINE inline __attribute__((always_inline))
struct ChunkSums {
  static OCTAVO_INLINE __m512i load(const std::int8_t* codes, std::int64_t count) {
    if (count >= 64) return _mm512_loadu_si512(codes);
    return _mm512_maskz_loadu_epi8((std::uint64_t{1} << count) - 1, codes);
  }
  // Of four vectors, 128-bit lanes with a number of each.
  static OCTAVO_INLINE __m512i quads(const __m512i* v) {
    const __m512i even =
        _mm512_add_epi32(_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1]));
    const __m512i odd =
        _mm512_add_epi32(_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
    return _mm512_add_epi32(_mm512_unpacklo_epi64(even, odd), _mm512_unpackhi_epi64(even, odd));
  }
  static OCTAVO_INLINE __m512i add_lanes(__m512i a, __m512i b) {
    return _mm512_add_epi32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xDD));
  }

  // Sums of all tokens with `rows` queries.
  template <int rows>
  static OCTAVO_KERNEL void score_rows(const std::int8_t* q, std::int64_t depth,
                                       const std::int8_t* const* keys, std::int64_t tokens,
                                       std::int32_t* sums) noexcept {
    constexpr int kTokens = 16 / rows;
    const __m512i half = _mm512_set1_epi8(-128);
    __m512i shift[rows];
    for (int r = 0; r < rows; ++r) {
      __m512i sum = _mm512_setzero_si512();
      for (std::int64_t d = 0; d < depth; d += 64) {
        sum = _mm512_dpbusd_epi32(sum, half,
                                  _mm512_loadu_si512(q + r * octavo::cpu::kHeadElements + d));
      }
      shift[r] = _mm512_sub_epi32(_mm512_setzero_si512(), sum);
    }
    for (std::int64_t j = 0; j < tokens; j += kTokens) {
      __m512i sum[16];
      for (int i = 0; i < 16; ++i) sum[i] = shift[i / kTokens];
      for (std::int64_t d = 0; d < depth; d += 64) {
        for (int t = 0; t < kTokens; ++t) {
          const __m512i key = _mm512_xor_si512(load(keys[j + t] + d, depth - d), half);
          for (int r = 0; r < rows; ++r) {
            const __m512i query = _mm512_loadu_si512(q + r * octavo::cpu::kHeadElements + d);
            sum[r * kTokens + t] = _mm512_dpbusd_epi32(sum[r * kTokens + t], key, query);
          }
        }
      }
      const __m512i all = add_lanes(add_lanes(quads(sum), quads(sum + 4)),
                                    add_lanes(quads(sum + 8), quads(sum + 12)));
      alignas(64) std::int32_t found[16];
      _mm512_store_si512(found, all);
      for (int r = 0; r < rows; ++r) {
        std::memcpy(sums + r * octavo::cpu::kChunkTokens + j, found + r * kTokens,
                    kTokens * sizeof(std::int32_t));
      }
    }
  }

  static void scores(const std::int8_t* q, std::int64_t rows, std::int64_t depth,
                     const std::int8_t* const* keys, std::int64_t tokens,
                     std::int32_t* sums) noexcept {
    std::int64_t r = 0;
    const auto take = [&](auto kernel, std::int64_t count) {
      for (; r + count <= rows; r += count) {
        kernel(q + r * octavo::cpu::kHeadElements, depth, keys, tokens,
               sums + r * octavo::cpu::kChunkTokens);
      }
    };
    take(&score_rows<4>, 4);
    take(&score_rows<2>, 2);
    take(&score_rows<1>, 1);
  }

  // Upper and lower bytes of a row's weights.
  struct Weights {
    alignas(64) std::uint8_t upper[octavo::cpu::kChunkTokens];
    alignas(64) std::uint8_t lower[octavo::cpu::kChunkTokens];
  };
  static inline void split(const std::int16_t* weights, std::int64_t tokens, Weights& to) {
    for (std::int64_t j = 0; j < tokens; j += 16) {
      const __m512i wide =
          _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(weights + j)));
      _mm_store_si128(reinterpret_cast<__m128i*>(to.lower + j), _mm512_cvtepi32_epi8(wide));
      _mm_store_si128(reinterpret_cast<__m128i*>(to.upper + j),
                      _mm512_cvtepi32_epi8(_mm512_srli_epi32(wide, 8)));
    }
  }
  static OCTAVO_INLINE __m512i four_of(const std::uint8_t* bytes) {
    std::int32_t four;
    std::memcpy(&four, bytes, sizeof(four));
    return _mm512_set1_epi32(four);
  }

  // 64 * blocks columns of `rows` rows.
  template <int rows, int blocks>
  static OCTAVO_KERNEL void value_rows(const Weights* weights, std::int64_t depth,
                                       const std::int8_t* const* values, std::int64_t column,
                                       std::int64_t tokens, std::int32_t* sums) noexcept {
    __m512i upper[rows][4 * blocks];
    __m512i lower[rows][4 * blocks];
    for (int r = 0; r < rows; ++r) {
      for (int i = 0; i < 4 * blocks; ++i) {
        upper[r][i] = _mm512_setzero_si512();
        lower[r][i] = _mm512_setzero_si512();
      }
    }
    for (std::int64_t j = 0; j < tokens; j += 4) {
      for (int b = 0; b < blocks; ++b) {
        const std::int64_t d = column + 64 * b;
        __m512i v[4];
        for (int t = 0; t < 4; ++t) v[t] = load(values[j + t] + d, depth - d);
        const __m512i low01 = _mm512_unpacklo_epi8(v[0], v[1]);
        const __m512i low23 = _mm512_unpacklo_epi8(v[2], v[3]);
        const __m512i high01 = _mm512_unpackhi_epi8(v[0], v[1]);
        const __m512i high23 = _mm512_unpackhi_epi8(v[2], v[3]);
        const __m512i fours[4] = {
            _mm512_unpacklo_epi16(low01, low23), _mm512_unpackhi_epi16(low01, low23),
            _mm512_unpacklo_epi16(high01, high23), _mm512_unpackhi_epi16(high01, high23)};
        for (int r = 0; r < rows; ++r) {
          const __m512i above = four_of(weights[r].upper + j);
          const __m512i below = four_of(weights[r].lower + j);
          for (int i = 0; i < 4; ++i) {
            upper[r][4 * b + i] = _mm512_dpbusd_epi32(upper[r][4 * b + i], above, fours[i]);
            lower[r][4 * b + i] = _mm512_dpbusd_epi32(lower[r][4 * b + i], below, fours[i]);
          }
        }
      }
    }
    for (int r = 0; r < rows; ++r) {
      for (int b = 0; b < blocks; ++b) {
        __m512i total[4];
        for (int i = 0; i < 4; ++i) {
          total[i] =
              _mm512_add_epi32(_mm512_slli_epi32(upper[r][4 * b + i], 8), lower[r][4 * b + i]);
        }
        // Lane l of vector i has columns 16 l + 4 i to the third after it.
        const __m512i low01 = _mm512_shuffle_i32x4(total[0], total[1], 0x44);
        const __m512i low23 = _mm512_shuffle_i32x4(total[2], total[3], 0x44);
        const __m512i high01 = _mm512_shuffle_i32x4(total[0], total[1], 0xEE);
        const __m512i high23 = _mm512_shuffle_i32x4(total[2], total[3], 0xEE);
        std::int32_t* to = sums + r * octavo::cpu::kHeadElements + column + 64 * b;
        _mm512_storeu_si512(to, _mm512_shuffle_i32x4(low01, low23, 0x88));
        _mm512_storeu_si512(to + 16, _mm512_shuffle_i32x4(low01, low23, 0xDD));
        _mm512_storeu_si512(to + 32, _mm512_shuffle_i32x4(high01, high23, 0x88));
        _mm512_storeu_si512(to + 48, _mm512_shuffle_i32x4(high01, high23, 0xDD));
      }
    }
  }

  static void values(const std::int16_t* weights, std::int64_t rows, std::int64_t depth,
                     const std::int8_t* const* values, std::int64_t tokens,
                     std::int32_t* sums) noexcept {
    Weights bytes[2];
    for (std::int64_t r = 0; r < rows; r += 2) {
      const bool two = r + 2 <= rows;
      split(weights + r * octavo::cpu::kChunkTokens, tokens, bytes[0]);
      if (two) split(weights + (r + 1) * octavo::cpu::kChunkTokens, tokens, bytes[1]);
      std::int32_t* to = sums + r * octavo::cpu::kHeadElements;
      for (std::int64_t d = 0; d < depth; d += 64) {
        if (two) {
          value_rows<2, 1>(bytes, depth, values, d, tokens, to);
        } else if (d + 64 < depth) {
          value_rows<1, 2>(bytes, depth, values, d, tokens, to);
          d += 64;
        } else {
          value_rows<1, 1>(bytes, depth, values, d, tokens, to);
        }
      }
    }
  }
};
#undef OCTAVO_INLINE
