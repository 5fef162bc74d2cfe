// SPDX-License-Identifier: Apache-2.0
// A few rows of bfloat16 by unpacked weights of fp8 on NEON, decoded in steps of two: four codes of
// a column in a word, or two rows of codes.
//
// The `Dot` has all `codes`.
//
// Needs: Dot, first_pairs, kSquareStep, Part, second_pairs, TransposedSteps, Unseen, Vec
// Gives: Float8LinesOf, Float8Source
struct Float8Source {
  static constexpr int kSteps = 2;
  using Transposed = TransposedSteps<Float8Source>;
  static OCTAVO_INLINE void put(const Dot& dot, int32x4_t word, std::int32_t* out) {
    uint16x8_t front, back;
    dot.codes.decode(vreinterpretq_u8_s32(word), front, back);
    vst1q_s32(out, first_pairs(front, back));
    vst1q_s32(out + kSquareStep, second_pairs(front, back));
  }
};

struct TwoRows {
  const char* b;
  std::int64_t ldb;
};
template <int vectors, bool held>
struct Float8Lines {
  static constexpr int kRows = 2, kVectors = vectors, kBytes = 16 * vectors;
  static constexpr bool kOrdered = true;
  using Look = Unseen;
  static OCTAVO_INLINE TwoRows load(const Dot&, const char* b, std::int64_t ldb) {
    return {b, ldb};
  }
  template <int v>
  static OCTAVO_INLINE Vec::Ints step(const Dot& dot, const TwoRows& rows) {
    const uint8x16_t x = Part::load(rows.b + 16 * v), y = Part::load(rows.b + 16 * v + rows.ldb);
    uint16x8_t a, b, c, d;
    dot.codes.template decode<held>(vzip1q_u8(x, y), a, b);
    dot.codes.template decode<held>(vzip2q_u8(x, y), c, d);
    return {{vreinterpretq_s32_u16(a), vreinterpretq_s32_u16(b), vreinterpretq_s32_u16(c),
             vreinterpretq_s32_u16(d)}};
  }
};

// What decodes leaves registers for eight sums, or for twelve of one vector; beside those of four
// rows its tables stay in memory. Decoding twice would take longer.
struct Float8LinesOf {
  static constexpr int kMostRows = 8, kTogether = 4;
  static constexpr bool kKeeps = false;
  template <int rows>
  using Of = Float8Lines<(rows == 1 ? 2 : 1), (rows < 4)>;
};
