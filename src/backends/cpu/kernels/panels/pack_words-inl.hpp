// SPDX-License-Identifier: Apache-2.0
// Panels of int8 as panels of words:
//
//   int8  [k / 4][j][4]  ->  int16 [k / 2][j][2]
//
// Needs: pack_piece, Vec, widened_pairs
// Gives: decode_words, pack_words
struct CodeWords {
  static constexpr std::int64_t kSize = 1, kRows = 2;
  static constexpr bool kSums = true;
  OCTAVO_INLINE void put(char* out, std::int64_t row_bytes, const Vec::Ints& codes) const {
    Vec::store(out, widened_pairs<0>(codes));
    Vec::store(out + row_bytes, widened_pairs<1>(codes));
  }
};

void pack_words(const octavo::cpu::PackPiece& p) noexcept { pack_piece(p, CodeWords()); }

void decode_words(const void* codes, std::int64_t steps, std::int64_t vectors,
                  void* panel) noexcept {
  constexpr std::int64_t kAhead = 4096;  // codes wait for memory where rows of A are few
  const std::int64_t row_bytes = vectors * 64;
  const char* from = static_cast<const char*>(codes);
  char* out = static_cast<char*>(panel);
  for (; steps > 0; --steps, out += 2 * row_bytes) {
    for (std::int64_t v = 0; v < vectors; ++v, from += 64) {
      _mm_prefetch(from + kAhead, _MM_HINT_T0);
      CodeWords().put(out + v * 64, row_bytes, Vec::load_ints(from));
    }
  }
}
