// SPDX-License-Identifier: Apache-2.0
// Weights of 8 and 16 bits, and rows of float32, as panels of bfloat16, exactly, in NEON:
//
//   int8  [k / 4][j][4]       fp8  [k / 2][j][2]       float32  [vectors][k][16]
//
// Two steps of pairs of four columns at a time go where put_steps() puts them.
//
// put_steps(out, vectors, v, quad, first, second, both)   vector v's columns 4 quad on; `out`:
//                                                         where the two steps begin
//
// Needs: fetch, pack_piece, put_steps, SameElements, Vec
// Gives: decode_float8, decode_int8, first_pairs, Float8Bytes, Float8Codes, int8_pairs, Int8Codes,
//        kDecodeAhead, pack_pairs, pack_rows, pairs_of, second_pairs

// 16 codes of fp8 as bfloat16. A code's magnitude, shifted, is the lower byte, and but for a
// constant the upper one; sixteen subnormal codes, and sixteen that may be no numbers, are looked
// up: the largest, or where that is NaN, what begins with a negative zero.
struct Float8Bytes {
  explicit Float8Bytes(const octavo::cpu::Float8Table& t)
      : Float8Bytes(t, std::countr_zero(t.down[0]) - 8) {}
  // Codes 0 to 7, then 8 to 15. Not `held`: tables and most constants stay in memory, where sums
  // need the registers.
  template <bool held = true>
  OCTAVO_INLINE void decode(uint8x16_t codes, uint16x8_t& front, uint16x8_t& back) const {
    const Float8Bytes* t = this;
    if constexpr (!held) __asm__("" : "+r"(t));
    const uint8x16_t sign = vdupq_n_u8(0x80);
    const uint8x16_t magnitudes = vbicq_u8(codes, sign);
    const uint8x16_t biased = vaddq_u8(magnitudes, t->bias);
    uint8x16_t low = vshlq_u8(biased, shift_left);
    uint8x16_t high = vaddq_u8(vshlq_u8(biased, shift_right), t->base);
    low = vqtbx1q_u8(low, t->small_low, magnitudes);
    high = vqtbx1q_u8(high, t->small_high, magnitudes);
    const uint8x16_t place = veorq_u8(vandq_u8(codes, t->looked_at), t->transposed);
    low = vqtbx1q_u8(low, t->other_low, place);
    high = vqtbx1q_u8(high, t->other_high, place);
    high = vbslq_u8(sign, codes, high);
    front = vreinterpretq_u16_u8(vzip1q_u8(low, high));
    back = vreinterpretq_u16_u8(vzip2q_u8(low, high));
  }

 private:
  static constexpr std::uint8_t kPower = 0x40, kLarge = 0x70;  // a power of two; the largest codes
  // `bias`: half an exponent of the upper byte, where exponents' constant is odd.
  Float8Bytes(const octavo::cpu::Float8Table& t, int left)
      : shift_left(vdupq_n_s8(static_cast<std::int8_t>(left))),
        shift_right(vdupq_n_s8(static_cast<std::int8_t>(left - 8))),
        bias(vdupq_n_u8(static_cast<std::uint8_t>(t.low[kPower] >> left))),
        base(vdupq_n_u8(static_cast<std::uint8_t>(
            t.high[kPower] - ((kPower + (t.low[kPower] >> left)) >> (8 - left))))),
        small_low(vld1q_u8(t.low.data())),
        small_high(vld1q_u8(t.high.data())),
        other_low(t.negative_zero_is_nan ? vsetq_lane_u8(0xC0, small_low, 0)
                                         : vld1q_u8(t.low.data() + kLarge)),
        other_high(t.negative_zero_is_nan ? vsetq_lane_u8(0x7F, small_high, 0)
                                          : vld1q_u8(t.high.data() + kLarge)),
        looked_at(vdupq_n_u8(t.negative_zero_is_nan ? 0xFF : 0x7F)),
        transposed(vdupq_n_u8(t.negative_zero_is_nan ? 0x80 : kLarge)) {}
  int8x16_t shift_left, shift_right;
  uint8x16_t bias, base, small_low, small_high, other_low, other_high, looked_at, transposed;
};

// Eight numbers of 8 bits, which a bfloat16 holds.
OCTAVO_INLINE uint16x8_t pairs_of(int16x8_t x) {
  const float32x4_t front = vcvtq_f32_s32(vmovl_s16(vget_low_s16(x)));
  const float32x4_t back = vcvtq_f32_s32(vmovl_high_s16(x));
  return vuzp2q_u16(vreinterpretq_u16_f32(front), vreinterpretq_u16_f32(back));
}

// Four elements of columns 0 and 1, and of 2 and 3: their first two and their last two.
OCTAVO_INLINE int32x4_t first_pairs(uint16x8_t front, uint16x8_t back) {
  return vuzp1q_s32(vreinterpretq_s32_u16(front), vreinterpretq_s32_u16(back));
}
OCTAVO_INLINE int32x4_t second_pairs(uint16x8_t front, uint16x8_t back) {
  return vuzp2q_s32(vreinterpretq_s32_u16(front), vreinterpretq_s32_u16(back));
}

// Four int8 of four columns.
OCTAVO_INLINE void int8_pairs(int32x4_t quads, int32x4_t& first, int32x4_t& second) {
  const int8x16_t codes = vreinterpretq_s8_s32(quads);
  const uint16x8_t front = pairs_of(vmovl_s8(vget_low_s8(codes)));
  const uint16x8_t back = pairs_of(vmovl_high_s8(codes));
  first = first_pairs(front, back);
  second = second_pairs(front, back);
}

// Targets of a packer (pack-inl.hpp) that makes steps of pairs.
struct Int8Codes {
  static constexpr std::int64_t kSize = 1, kRows = 2;
  static constexpr bool kSums = false;
  OCTAVO_INLINE void put(char* out, std::int64_t row_bytes, const Vec::Ints& x) const {
    Vec::Ints first, second;
    for (int i = 0; i < 4; ++i) int8_pairs(x.part[i], first.part[i], second.part[i]);
    Vec::store(out, first);
    Vec::store(out + row_bytes, second);
  }
};
struct Float8Codes {
  static constexpr std::int64_t kSize = 1, kRows = 2;
  static constexpr bool kSums = false;
  explicit Float8Codes(const octavo::cpu::Float8Table& table) : codes(table) {}
  OCTAVO_INLINE void put(char* out, std::int64_t row_bytes, const Vec::Ints& x) const {
    Vec::Ints first, second;
    for (int i = 0; i < 4; ++i) {
      uint16x8_t front, back;
      codes.decode(vreinterpretq_u8_s32(x.part[i]), front, back);
      first.part[i] = first_pairs(front, back);
      second.part[i] = second_pairs(front, back);
    }
    Vec::store(out, first);
    Vec::store(out + row_bytes, second);
  }
  Float8Bytes codes;
};

// In steps of pairs.
void pack_pairs(const octavo::cpu::PackPiece& p) noexcept {
  if (p.dtype == octavo::DType::bfloat16) return pack_piece(p, SameElements<2, false>());
  if (p.dtype == octavo::DType::int8) return pack_piece(p, Int8Codes());
  pack_piece(p, Float8Codes(*p.table));
}

// How far ahead codes are fetched: few rows of A leave them waiting for memory.
constexpr std::int64_t kDecodeAhead = 4096;

void decode_int8(const void* codes, std::int64_t steps, std::int64_t vectors,
                 void* panel) noexcept {
  const char* from = static_cast<const char*>(codes);
  char* out = static_cast<char*>(panel);
  for (; steps > 0; --steps, out += vectors * 128) {
    for (std::int64_t v = 0; v < vectors; ++v, from += 64) {
      fetch(from + kDecodeAhead);
      const Vec::Ints quads = Vec::load_ints(from);
      for (int i = 0; i < 4; ++i) {
        int32x4_t first, second;
        int8_pairs(quads.part[i], first, second);
        put_steps(out, vectors, v, i, first, second, true);
      }
    }
  }
}

// 16 bytes of codes are pairs of four columns of one vector, then of the next.
void decode_float8(const octavo::cpu::Float8Table& table, const void* codes, std::int64_t steps,
                   std::int64_t code_vectors, std::int64_t vectors, void* panel) noexcept {
  const Float8Bytes bytes(table);
  const std::int64_t step_bytes = code_vectors * 32;
  const auto* from = static_cast<const std::uint8_t*>(codes);
  char* out = static_cast<char*>(panel);
  for (; steps > 0; steps -= 2, from += step_bytes, out += vectors * 128) {
    const bool both = steps > 1;
    for (std::int64_t v = 0; v < code_vectors; v += 2, from += 64) {
      fetch(reinterpret_cast<const char*>(from) + kDecodeAhead);
      for (int i = 0; i < 4; ++i) {
        const std::uint8_t* at = from + 16 * i;
        uint16x8_t first[2], second[2];
        bytes.decode(vld1q_u8(at), first[0], first[1]);
        bytes.decode(both ? vld1q_u8(at + step_bytes) : vdupq_n_u8(0), second[0], second[1]);
        for (int w = 0; w < (v + 1 < vectors ? 2 : 1); ++w) {
          put_steps(out, vectors, v + w, i, vreinterpretq_s32_u16(first[w]),
                    vreinterpretq_s32_u16(second[w]), both);
        }
      }
    }
  }
}

// Upper halves of floats are all they have.
void pack_rows(const float* rows, std::int64_t depth, std::int64_t vectors, void* panel) noexcept {
  const auto pairs = [](const float* at, bool pair) {
    const auto row = [](const float* p) { return vreinterpretq_u16_f32(vld1q_f32(p)); };
    return vreinterpretq_s32_u16(vtrn2q_u16(row(at), pair ? row(at + 16) : vdupq_n_u16(0)));
  };
  for (std::int64_t v = 0; v < vectors; ++v) {
    char* out = static_cast<char*>(panel);
    for (std::int64_t k = 0; k < depth; k += 4, out += vectors * 128) {
      const bool both = k + 2 < depth;
      for (int i = 0; i < 4; ++i) {
        const float* at = rows + k * 16 + 4 * i;
        put_steps(out, vectors, v, i, pairs(at, k + 1 < depth),
                  both ? pairs(at + 32, k + 3 < depth) : vdupq_n_s32(0), both);
      }
    }
    rows += depth * 16;
  }
}
