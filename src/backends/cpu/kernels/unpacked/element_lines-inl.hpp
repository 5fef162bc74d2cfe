// SPDX-License-Identifier: Apache-2.0
// Rows of a weight [K, N] of one type (unpacked/rows-inl.hpp): 16 elements for each vector, whose
// place is all that vectors share. What is no float32 becomes float32 on its way, by each
// instruction set's step<v>().
//
//   row k   [b0 .. b15] [b16 .. b31] ..      kBytes, `vectors` vectors
//
// Needs: Dot, Unseen, Vec
// Gives: ElementLines, FloatLines
template <int vectors, int size>
struct ElementLines {
  static constexpr int kRows = 1, kVectors = vectors, kBytes = 16 * size * vectors;
  static constexpr bool kOrdered = true;
  using Look = Unseen;
  static OCTAVO_INLINE const char* load(const Dot&, const char* b, std::int64_t) { return b; }
};
template <int vectors>
struct FloatLines : ElementLines<vectors, 4> {
  template <int v>
  static OCTAVO_INLINE Vec::Ints step(const Dot&, const char* b) {
    return Vec::load_unaligned_ints(b + 64 * v);
  }
};
