// SPDX-License-Identifier: Apache-2.0
// Integers on 16 bits: rows of A are widened ahead, and vpmaddwd multiplies and adds pairs,
// sum[j] += a[0] b[0][j] + a[1] b[1][j], exactly: no product of a byte and an int8 leaves 17 bits.
//
// Vec::multiply_pairs() is the instruction.
//
// Needs: Vec
// Gives: PanelWordsDot, widened_pairs, WordsDot
struct WordsDot {
  static constexpr bool kExact = true;
  static constexpr int kLoadVectors = 1;
  using Loaded = Vec::Ints;
  using Right = Vec::Ints;
  using Sum = Vec::Ints;
  static OCTAVO_INLINE Loaded load(const Vec::Ints& b) { return b; }
  static OCTAVO_INLINE Vec::Ints flipped(const Vec::Ints& a) { return a; }
  static OCTAVO_INLINE Vec::Ints left(const Vec::Ints& a) { return a; }
  // What left() makes ones of.
  static OCTAVO_INLINE Vec::Ints one() { return Vec::broadcast(0x00010001); }
  static OCTAVO_INLINE Sum add(const Sum& sum, const Vec::Ints& a, const Right& b) {
    return Vec::add(sum, Vec::multiply_pairs(a, b));
  }
  static OCTAVO_INLINE Sum zero() { return Vec::zero_ints(); }
  static OCTAVO_INLINE Sum read(const void* p) { return Vec::load_ints(p); }
  static OCTAVO_INLINE void write(void* p, const Sum& sum) { Vec::store(p, sum); }
  static OCTAVO_INLINE Vec::Floats floats(const Sum& sum) { return Vec::to_floats(sum); }
};

// Of panels that hold words.
struct PanelWordsDot : WordsDot {
  static constexpr int kSteps = 1;
  explicit PanelWordsDot(const octavo::cpu::DotTile&) {}
  template <int>
  static OCTAVO_INLINE const Right& right(const Loaded& words) {
    return words;
  }
};

// Bytes [2 * half] and [2 * half + 1] of every column as two words.
template <int half>
OCTAVO_INLINE Vec::Ints widened_pairs(const Vec::Ints& bytes) {
  return Vec::shift_words_right<8>(Vec::template upper_bytes<half>(bytes));
}
