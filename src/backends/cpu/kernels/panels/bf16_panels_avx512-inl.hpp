// SPDX-License-Identifier: Apache-2.0
// Panels of bfloat16 in pairs along K, of rows of floats and of any weight that they hold exactly.
//
// For regions with AVX-512 BW.
//
// Needs: pack_piece, SameElements
// Gives: Decoded, pack_bf16, pack_rows

// Two rows of a vector as pairs: their upper halves are all they have.
void pack_rows(const float* rows, std::int64_t depth, std::int64_t vectors, void* panel) noexcept {
  const std::int64_t vector_bytes = octavo::cpu::kBf16Form.vector_bytes;
  for (std::int64_t v = 0; v < vectors; ++v) {
    char* out = static_cast<char*>(panel) + v * vector_bytes;
    for (std::int64_t k = 0; k < depth; k += 2, rows += 2 * octavo::cpu::kVectorCols) {
      const __m512i first = _mm512_srli_epi32(_mm512_load_si512(rows), 16);
      const bool pair = k + 1 < depth;
      const __m512i second =
          pair ? _mm512_load_si512(rows + octavo::cpu::kVectorCols) : _mm512_setzero_si512();
      constexpr __mmask32 kUpper = 0xAAAAAAAA;
      _mm512_store_si512(out, _mm512_mask_mov_epi16(first, kUpper, second));
      out += vectors * vector_bytes;
      if (!pair) rows -= octavo::cpu::kVectorCols;
    }
  }
}

struct Decoded {
  static constexpr std::int64_t kPairRows = 1;
  static void store_pairs(char* out, std::int64_t, __m512i words) {
    _mm512_store_si512(out, words);
  }
  // Eight bits of a number lie in the upper half of its float32.
  static void store_numbers(char* out, std::int64_t row_bytes, const __m512i (&x)[4]) {
    constexpr __mmask32 kUpper = 0xAAAAAAAA;
    const auto bits = [&](int i) { return _mm512_castps_si512(_mm512_cvtepi32_ps(x[i])); };
    for (int i = 0; i < 4; i += 2, out += row_bytes) {
      const __m512i first = _mm512_srli_epi32(bits(i), 16);
      _mm512_store_si512(out, _mm512_mask_mov_epi16(first, kUpper, bits(i + 1)));
    }
  }
};
#include "backends/cpu/kernels/panels/decode_avx512-inl.hpp"

void pack_bf16(const octavo::cpu::PackPiece& p) noexcept {
  if (p.dtype == octavo::DType::bfloat16) return pack_piece(p, SameElements<2, false>());
  if (p.dtype == octavo::DType::int8) return pack_piece(p, Int8Codes());
  pack_piece(p, Float8Codes(*p.table));
}
