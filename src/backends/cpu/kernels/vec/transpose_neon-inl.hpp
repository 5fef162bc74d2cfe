// SPDX-License-Identifier: Apache-2.0
// What makes vectors of columns of a weight, in NEON; the names are those of
// transpose_avx512-inl.hpp.
//
// Needs: Part, Vec
// Gives: interleave, kPairedRows, kSquareStep, step_sums, transpose_rows, TransposedSquare,
//        TransposedSteps, turn, Unseen

// Dword (i, j) of 4 x 4, whose row i is row(i), goes to (j, i) of `out`.
template <class Rows>
OCTAVO_INLINE void transpose_rows(const Rows& row, int32x4_t (&out)[4]) {
  const int32x4_t even01 = vtrn1q_s32(row(0), row(1));
  const int32x4_t odd01 = vtrn2q_s32(row(0), row(1));
  const int32x4_t even23 = vtrn1q_s32(row(2), row(3));
  const int32x4_t odd23 = vtrn2q_s32(row(2), row(3));
  const auto first = [](int32x4_t a, int32x4_t b) {
    return vreinterpretq_s32_s64(vtrn1q_s64(vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b)));
  };
  const auto second = [](int32x4_t a, int32x4_t b) {
    return vreinterpretq_s32_s64(vtrn2q_s64(vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b)));
  };
  out[0] = first(even01, even23);
  out[1] = first(odd01, odd23);
  out[2] = second(even01, even23);
  out[3] = second(odd01, odd23);
}

// The same of part `from` of m[row] and those after it.
OCTAVO_INLINE void transpose_square(const Vec::Ints (&m)[16], int row, int from,
                                    int32x4_t (&out)[4]) {
  transpose_rows([&](int i) OCTAVO_LAMBDA { return m[row + i].part[from]; }, out);
}

// Squares are transposed before they meet rows.
constexpr int kPairedRows = 2;

// What is looked at of a weight on its way: nothing.
struct Unseen {
  template <class Dot>
  explicit OCTAVO_INLINE Unseen(const Dot&) {}
  OCTAVO_INLINE void look(const Vec::Ints&) {}
  static OCTAVO_INLINE bool usual() { return true; }
};

// Sixteen columns of 64 bytes, transposed (unpacked/columns-inl.hpp), in the first-level cache: a
// word of four columns becomes steps there, as `Words` say:
//   kSteps               of a word
//   put(dot, word, out)  the first one at `out`, the others each kSquareStep further on
constexpr std::int64_t kSquareStep = 16;  // dwords
template <class Words>
struct TransposedSteps {
  template <class Dot>
  OCTAVO_INLINE TransposedSteps(const Dot& dot, const char* b, std::int64_t ldb) {
    for (std::int64_t quad = 0; quad < 4; ++quad, b += 4 * ldb) {
      for (std::int64_t part = 0; part < 4; ++part) {
        int32x4_t out[4];
        transpose_rows(
            [&](int i)
                OCTAVO_LAMBDA { return vreinterpretq_s32_u8(Part::load(b + i * ldb + 16 * part)); },
            out);
        std::int32_t* at = steps + 4 * Words::kSteps * kSquareStep * part + 4 * quad;
        Words::put(dot, out[0], at);
        Words::put(dot, out[1], at + Words::kSteps * kSquareStep);
        Words::put(dot, out[2], at + 2 * Words::kSteps * kSquareStep);
        Words::put(dot, out[3], at + 3 * Words::kSteps * kSquareStep);
      }
    }
  }
  OCTAVO_INLINE Vec::Ints step(std::int64_t i) const {
    return Vec::load_ints(steps + kSquareStep * i);
  }

 private:
  alignas(64) std::int32_t steps[16 * Words::kSteps * kSquareStep];
};

// Words that are steps.
struct SameWords {
  static constexpr int kSteps = 1;
  template <class Dot>
  static OCTAVO_INLINE void put(const Dot&, int32x4_t word, std::int32_t* out) {
    vst1q_s32(out, word);
  }
};
template <int bits>
using TransposedSquare = TransposedSteps<SameWords>;

// Dword (i, j) of 16 x 16 goes to (j, i): squares of 4 x 4, those beside the diagonal in pairs.
inline void turn(Vec::Ints (&m)[16]) {
  for (int i = 0; i < 4; ++i) {
    for (int j = i; j < 4; ++j) {
      int32x4_t upper[4], lower[4];
      transpose_square(m, 4 * i, j, upper);
      transpose_square(m, 4 * j, i, lower);
      for (int r = 0; r < 4; ++r) {
        m[4 * j + r].part[i] = upper[r];
        m[4 * i + r].part[j] = lower[r];
      }
    }
  }
}

// 256 bytes of rows, 64 columns each, as vectors of 16 columns: four rows of bytes, two of
// halfwords, the front of each before its back, or one of words.
template <std::int64_t size>
OCTAVO_INLINE void interleave(Vec::Ints (&x)[4]) {
  const Vec::Ints rows[] = {x[0], x[1], x[2], x[3]};
  if constexpr (size == 1) {
    for (int v = 0; v < 4; ++v) {
      const auto bytes = [&](int row) { return vreinterpretq_u8_s32(rows[row].part[v]); };
      const uint8x16_t low01 = vzip1q_u8(bytes(0), bytes(1));
      const uint8x16_t high01 = vzip2q_u8(bytes(0), bytes(1));
      const uint8x16_t low23 = vzip1q_u8(bytes(2), bytes(3));
      const uint8x16_t high23 = vzip2q_u8(bytes(2), bytes(3));
      const auto both = [](uint8x16_t a, uint8x16_t b, int32x4_t& first, int32x4_t& second) {
        const uint16x8_t pairs = vreinterpretq_u16_u8(a), others = vreinterpretq_u16_u8(b);
        first = vreinterpretq_s32_u16(vzip1q_u16(pairs, others));
        second = vreinterpretq_s32_u16(vzip2q_u16(pairs, others));
      };
      both(low01, low23, x[v].part[0], x[v].part[1]);
      both(high01, high23, x[v].part[2], x[v].part[3]);
    }
  } else if constexpr (size == 2) {
    // Rows of 128 bytes: the first 64 in x[0] and x[2], the others in x[1] and x[3].
    for (int v = 0; v < 4; ++v) {
      for (int i = 0; i < 2; ++i) {
        const int at = v % 2 * 2 + i;
        const uint16x8_t first = vreinterpretq_u16_s32(rows[v / 2].part[at]);
        const uint16x8_t second = vreinterpretq_u16_s32(rows[2 + v / 2].part[at]);
        x[v].part[2 * i] = vreinterpretq_s32_u16(vzip1q_u16(first, second));
        x[v].part[2 * i + 1] = vreinterpretq_s32_u16(vzip2q_u16(first, second));
      }
    }
  }
}

// The sums of 16 columns over one step of bytes.
OCTAVO_INLINE Vec::Ints step_sums(const Vec::Ints& codes) {
  return Vec::each<Vec::Ints>(
      [&](int i) { return vpaddlq_s16(vpaddlq_s8(vreinterpretq_s8_s32(codes.part[i]))); });
}
