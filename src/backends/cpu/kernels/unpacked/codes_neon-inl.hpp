// SPDX-License-Identifier: Apache-2.0
// The same of fp8 weights: four codes of a column in a word, or a row of codes.
//
// The `Dot` has all `codes`.
//
// Needs: Dot, kSquareStep, Part, TransposedSteps, Unseen, Vec
// Gives: Float8Lines, Float8Source
struct Float8Source {
  static constexpr int kSteps = 4;
  using Transposed = TransposedSteps<Float8Source>;
  static OCTAVO_INLINE void put(const Dot& dot, int32x4_t word, std::int32_t* out) {
    // Codes 0 and 2 of each column, 1 and 3 of each.
    const uint16x8_t codes = vreinterpretq_u16_s32(word);
    const uint16x8_t even = dot.codes.words(vshlq_n_u16(codes, 8)), odd = dot.codes.words(codes);
    put_float(out, dot.codes.lower(vuzp1q_u16(even, even)));
    put_float(out + kSquareStep, dot.codes.lower(vuzp1q_u16(odd, odd)));
    put_float(out + 2 * kSquareStep, dot.codes.lower(vuzp2q_u16(even, even)));
    put_float(out + 3 * kSquareStep, dot.codes.lower(vuzp2q_u16(odd, odd)));
  }
  static OCTAVO_INLINE void put_float(std::int32_t* out, float32x4_t x) {
    vst1q_s32(out, vreinterpretq_s32_f32(x));
  }
};

template <int vectors>
struct Float8Lines {
  static constexpr int kRows = 1, kVectors = vectors, kBytes = 16 * vectors;
  static constexpr bool kOrdered = true;
  using Look = Unseen;
  static OCTAVO_INLINE const char* load(const Dot&, const char* b, std::int64_t) { return b; }
  template <int v>
  static OCTAVO_INLINE Vec::Ints step(const Dot& dot, const char* b) {
    const uint8x16_t row = Part::load(b + 16 * v);
    const uint16x8_t x = dot.codes.words(vshll_n_u8(vget_low_u8(row), 8));
    const uint16x8_t y = dot.codes.words(vshll_high_n_u8(row, 8));
    return Vec::as_ints(
        {{dot.codes.lower(x), dot.codes.upper(x), dot.codes.lower(y), dot.codes.upper(y)}});
  }
};
