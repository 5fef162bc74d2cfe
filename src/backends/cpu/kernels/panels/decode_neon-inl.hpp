// SPDX-License-Identifier: Apache-2.0
// fp8 codes as float32, exactly, in NEON; panels of 8-bit weights as panels of float32
//
//   int8  [k / 4][j][4]  ->  [k][j]          fp8  [k / 2][j][2]  ->  [k][j]
//
// and the targets of a packer (pack-inl.hpp) that makes such panels of weights. A code in the upper
// byte of a word, shifted down until its exponent begins where that of a bfloat16 does, is a
// bfloat16 of its number but for a power of two (float8_codes_avx2-inl.hpp).
//
// Needs: fetch, Vec
// Gives: AllCodes, decode_float8, decode_int8, Float8Codes, Int8Codes, kDecodeAhead

// How far ahead codes are fetched: few rows of A leave them waiting for memory.
constexpr std::int64_t kDecodeAhead = 4096;

// All codes: those that are none of the numbers get the exponent of infinity, or are NaN.
struct AllCodes {
  explicit AllCodes(const octavo::cpu::Float8Table& t)
      : kept(vdupq_n_u16(t.kept[0])),
        looked_at(vdupq_n_u16(t.negative_zero_is_nan ? 0xFF00 : 0x7F00)),
        transposed(vdupq_n_u16(t.negative_zero_is_nan ? 0xFF00 : 0)),
        last(word(t.negative_zero_is_nan ? 0x7E00 : t.last_finite << 8)),
        other(word(t.negative_zero_is_nan ? 0x7FC0 : 0x7F80)),
        down(word(std::countr_zero(t.down[0]) - 16)),
        unit(vdupq_n_f32(t.unit[0])) {}
  // Of words: what they have below the code does not matter.
  OCTAVO_INLINE uint16x8_t words(uint16x8_t codes) const {
    const uint16x8_t shifted = vreinterpretq_u16_s16(vshlq_s16(vreinterpretq_s16_u16(codes), down));
    // Code 0x80 alone turned is the largest number; or magnitudes behind the last finite one.
    const uint16x8_t place = veorq_u16(vandq_u16(codes, looked_at), transposed);
    const uint16x8_t special = vcgtq_s16(vreinterpretq_s16_u16(place), last);
    return vorrq_u16(vandq_u16(shifted, kept), vandq_u16(special, vreinterpretq_u16_s16(other)));
  }
  OCTAVO_INLINE float32x4_t lower(uint16x8_t words) const {
    return floats(vshll_n_u16(vget_low_u16(words), 16));
  }
  OCTAVO_INLINE float32x4_t upper(uint16x8_t words) const {
    return floats(vshll_high_n_u16(words, 16));
  }
  // Of numbers in the upper halves of dwords.
  OCTAVO_INLINE float32x4_t floats(uint32x4_t numbers) const {
    return vmulq_f32(vreinterpretq_f32_u32(numbers), unit);
  }
  static OCTAVO_INLINE int16x8_t word(int bits) {
    return vdupq_n_s16(static_cast<std::int16_t>(bits));
  }
  uint16x8_t kept, looked_at, transposed;
  int16x8_t last, other, down;
  float32x4_t unit;
};

// Four codes of 16 columns.
struct Float8Codes {
  static constexpr std::int64_t kSize = 1, kRows = 4;
  static constexpr bool kSums = false;
  explicit Float8Codes(const octavo::cpu::Float8Table& table) : codes(table) {}
  OCTAVO_INLINE void put(char* out, std::int64_t row_bytes, const Vec::Ints& x) const {
    for (int i = 0; i < 4; ++i, out += 16) {
      const uint16x8_t quads = vreinterpretq_u16_s32(x.part[i]);
      // Words of columns 0 to 3: codes 0 and 2 of each, 1 and 3 of each.
      const uint16x8_t even = codes.words(vshlq_n_u16(quads, 8));
      const uint16x8_t odd = codes.words(quads);
      put_row(out, codes.lower(vuzp1q_u16(even, even)));
      put_row(out + row_bytes, codes.lower(vuzp1q_u16(odd, odd)));
      put_row(out + 2 * row_bytes, codes.lower(vuzp2q_u16(even, even)));
      put_row(out + 3 * row_bytes, codes.lower(vuzp2q_u16(odd, odd)));
    }
  }
  static OCTAVO_INLINE void put_row(char* out, float32x4_t x) {
    vst1q_f32(reinterpret_cast<float*>(out), x);
  }
  AllCodes codes;
};
struct Int8Codes {
  static constexpr std::int64_t kSize = 1, kRows = 4;
  static constexpr bool kSums = false;
  OCTAVO_INLINE void put(char* out, std::int64_t row_bytes, const Vec::Ints& x) const {
    for (int i = 0; i < 4; ++i, out += 16) {
      const auto row = [&](std::int64_t k, int32x4_t number) {
        vst1q_f32(reinterpret_cast<float*>(out + k * row_bytes), vcvtq_f32_s32(number));
      };
      row(0, vshrq_n_s32(vshlq_n_s32(x.part[i], 24), 24));
      row(1, vshrq_n_s32(vshlq_n_s32(x.part[i], 16), 24));
      row(2, vshrq_n_s32(vshlq_n_s32(x.part[i], 8), 24));
      row(3, vshrq_n_s32(x.part[i], 24));
    }
  }
};

void decode_int8(const void* codes, std::int64_t steps, std::int64_t vectors,
                 void* panel) noexcept {
  const std::int64_t row_bytes = vectors * 64;
  const char* from = static_cast<const char*>(codes);
  char* out = static_cast<char*>(panel);
  for (; steps > 0; --steps, out += 4 * row_bytes) {
    for (std::int64_t v = 0; v < vectors; ++v, from += 64) {
      fetch(from + kDecodeAhead);
      Int8Codes().put(out + v * 64, row_bytes, Vec::load_ints(from));
    }
  }
}

// 16 bytes of codes are pairs of four columns of one vector, then of the next.
void decode_float8(const octavo::cpu::Float8Table& table, const void* codes, std::int64_t steps,
                   std::int64_t code_vectors, std::int64_t vectors, void* panel) noexcept {
  const AllCodes all(table);
  const std::int64_t row_bytes = vectors * 64;
  const char* from = static_cast<const char*>(codes);
  char* out = static_cast<char*>(panel);
  for (; steps > 0; --steps, out += 2 * row_bytes) {
    for (std::int64_t v = 0; v < code_vectors; v += 2, from += 64) {
      fetch(from + kDecodeAhead);
      const Vec::Ints both = Vec::load_ints(from);
      for (int i = 0; i < 4; ++i) {
        const uint16x8_t pairs = vreinterpretq_u16_s32(both.part[i]);
        const uint16x8_t rows[] = {all.words(vshlq_n_u16(pairs, 8)), all.words(pairs)};
        for (std::int64_t row = 0; row < 2; ++row) {
          char* place = out + row * row_bytes + v * 64 + i * 16;
          Float8Codes::put_row(place, all.lower(rows[row]));
          if (v + 1 < vectors) Float8Codes::put_row(place + 64, all.upper(rows[row]));
        }
      }
    }
  }
}
