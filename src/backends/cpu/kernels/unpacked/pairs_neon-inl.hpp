// SPDX-License-Identifier: Apache-2.0
// A few rows of bfloat16 by unpacked weights of bfloat16 and int8 on NEON, in steps of two
// elements:
//
//   word   [b0 b1] of bfloat16, [b0 b1 b2 b3] of int8   ->   one step, two
//   rows   [b0 .. b15] of k, [b0 .. b15] of k + 1       ->   one step
//
// Needs: Dot, int8_pairs, kSquareStep, pairs_of, Part, TransposedSteps, Unseen, Vec
// Gives: Bf16Lines, Int8Lines, Int8Source
struct Int8Source {
  static constexpr int kSteps = 2;
  using Transposed = TransposedSteps<Int8Source>;
  static OCTAVO_INLINE void put(const Dot&, int32x4_t word, std::int32_t* out) {
    int32x4_t first, second;
    int8_pairs(word, first, second);
    vst1q_s32(out, first);
    vst1q_s32(out + kSquareStep, second);
  }
};

// Two rows of some vectors of one type.
struct TwoRows {
  const char* b;
  std::int64_t ldb;
};
template <int vectors, int size>
struct PairLines {
  static constexpr int kRows = 2, kVectors = vectors, kBytes = 16 * size * vectors;
  static constexpr bool kOrdered = true;
  using Look = Unseen;
  static OCTAVO_INLINE TwoRows load(const Dot&, const char* b, std::int64_t ldb) {
    return {b, ldb};
  }
  static OCTAVO_INLINE Vec::Ints bits(uint16x8_t a, uint16x8_t b, uint16x8_t c, uint16x8_t d) {
    return {{vreinterpretq_s32_u16(a), vreinterpretq_s32_u16(b), vreinterpretq_s32_u16(c),
             vreinterpretq_s32_u16(d)}};
  }
};
template <int vectors>
struct Bf16Lines : PairLines<vectors, 2> {
  template <int v>
  static OCTAVO_INLINE Vec::Ints step(const Dot&, const TwoRows& rows) {
    const auto row = [](const char* p) { return vreinterpretq_u16_u8(Part::load(p)); };
    const char *first = rows.b + 32 * v, *second = first + rows.ldb;
    const uint16x8_t x = row(first), y = row(second);
    const uint16x8_t more_x = row(first + 16), more_y = row(second + 16);
    return Bf16Lines::bits(vzip1q_u16(x, y), vzip2q_u16(x, y), vzip1q_u16(more_x, more_y),
                           vzip2q_u16(more_x, more_y));
  }
};
template <int vectors>
struct Int8Lines : PairLines<vectors, 1> {
  template <int v>
  static OCTAVO_INLINE Vec::Ints step(const Dot&, const TwoRows& rows) {
    const auto row = [](const char* p) { return vreinterpretq_s8_u8(Part::load(p)); };
    const int8x16_t x = row(rows.b + 16 * v), y = row(rows.b + 16 * v + rows.ldb);
    const int8x16_t front = vzip1q_s8(x, y), back = vzip2q_s8(x, y);
    return Int8Lines::bits(pairs_of(vmovl_s8(vget_low_s8(front))), pairs_of(vmovl_high_s8(front)),
                           pairs_of(vmovl_s8(vget_low_s8(back))), pairs_of(vmovl_high_s8(back)));
  }
};
