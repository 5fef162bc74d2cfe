// SPDX-License-Identifier: Apache-2.0
// Attention's two products of codes in vectors of the compiler.
//
// Needs: Lanes, put_vector, vector_at
// Gives: ChunkSums

struct ChunkSums {
  using Bytes = Lanes<std::int8_t, 4>;
  using Ints = Lanes<std::int32_t, 4>;
  static inline Ints wide(const std::int8_t* codes, std::int64_t count) {
    Bytes bytes{};
    if (count >= 4) {
      bytes = vector_at<Bytes>(codes);
    } else {
      std::memcpy(&bytes, codes, static_cast<std::size_t>(count));
    }
    return __builtin_convertvector(bytes, Ints);
  }

  static void scores(const std::int8_t* q, std::int64_t rows, std::int64_t depth,
                     const std::int8_t* const* keys, std::int64_t tokens,
                     std::int32_t* sums) noexcept {
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::int8_t* row = q + r * octavo::cpu::kHeadElements;
      for (std::int64_t j = 0; j < tokens; ++j) {
        Ints sum{};
        for (std::int64_t d = 0; d < depth; d += 4)
          sum += wide(row + d, 4) * wide(keys[j] + d, depth - d);
        std::int32_t total = 0;
        for (int i = 0; i < 4; ++i) total += sum[i];
        sums[r * octavo::cpu::kChunkTokens + j] = total;
      }
    }
  }

  static void values(const std::int16_t* weights, std::int64_t rows, std::int64_t depth,
                     const std::int8_t* const* values, std::int64_t tokens,
                     std::int32_t* sums) noexcept {
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::int16_t* row = weights + r * octavo::cpu::kChunkTokens;
      for (std::int64_t d = 0; d < depth; d += 4) {
        Ints sum{};
        for (std::int64_t j = 0; j < tokens; ++j) sum += wide(values[j] + d, depth - d) * row[j];
        put_vector(sum, sums + r * octavo::cpu::kHeadElements + d);
      }
    }
  }
};
