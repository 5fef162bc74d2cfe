// SPDX-License-Identifier: Apache-2.0
// A few rows of float32 by unpacked weights of every type on NEON: what words of a column become
// (unpacked/columns-inl.hpp), and rows of sixteen columns (unpacked/rows-inl.hpp).
//
//   word   [b0 b1 b2 b3] of 8 bits, [b0 b1] of 16, b0 of 32   ->   four, two, one step of float32
//   row    [b0 .. b15]                                        ->   one step
//
// Needs: Dot, ElementLines, kSquareStep, Part, TransposedSteps, Vec
// Gives: Bf16Lines, Bf16Source, HalfLines, HalfSource, Int8Lines, Int8Source

// Two elements of 16 bits.
struct Bf16Source {
  static constexpr int kSteps = 2;
  using Transposed = TransposedSteps<Bf16Source>;
  static OCTAVO_INLINE void put(const Dot&, int32x4_t word, std::int32_t* out) {
    vst1q_s32(out, vshlq_n_s32(word, 16));
    vst1q_s32(out + kSquareStep, vandq_s32(word, vdupq_n_s32(-0x10000)));
  }
};
struct HalfSource {
  static constexpr int kSteps = 2;
  using Transposed = TransposedSteps<HalfSource>;
  static OCTAVO_INLINE void put(const Dot&, int32x4_t word, std::int32_t* out) {
    const uint32x4_t pair = vreinterpretq_u32_s32(word);
    const auto number = [&](uint16x4_t half) OCTAVO_LAMBDA {
      return vreinterpretq_s32_f32(vcvt_f32_f16(vreinterpret_f16_u16(half)));
    };
    vst1q_s32(out, number(vmovn_u32(pair)));
    vst1q_s32(out + kSquareStep, number(vshrn_n_u32(pair, 16)));
  }
};
// Four numbers of 8 bits.
struct Int8Source {
  static constexpr int kSteps = 4;
  using Transposed = TransposedSteps<Int8Source>;
  static OCTAVO_INLINE void put(const Dot&, int32x4_t word, std::int32_t* out) {
    const auto step = [&](std::int64_t i, int32x4_t number) OCTAVO_LAMBDA {
      vst1q_s32(out + i * kSquareStep, vreinterpretq_s32_f32(vcvtq_f32_s32(number)));
    };
    step(0, vshrq_n_s32(vshlq_n_s32(word, 24), 24));
    step(1, vshrq_n_s32(vshlq_n_s32(word, 16), 24));
    step(2, vshrq_n_s32(vshlq_n_s32(word, 8), 24));
    step(3, vshrq_n_s32(word, 24));
  }
};

OCTAVO_INLINE uint16x8_t eight_halves(const char* b) { return vreinterpretq_u16_u8(Part::load(b)); }
OCTAVO_INLINE Vec::Ints bits_of(float32x4_t a, float32x4_t b, float32x4_t c, float32x4_t d) {
  return Vec::as_ints({{a, b, c, d}});
}
template <int vectors>
struct Bf16Lines : ElementLines<vectors, 2> {
  template <int v>
  static OCTAVO_INLINE Vec::Ints step(const Dot&, const char* b) {
    const uint16x8_t x = eight_halves(b + 32 * v), y = eight_halves(b + 32 * v + 16);
    const auto words = [](uint32x4_t shifted) { return vreinterpretq_s32_u32(shifted); };
    return {{words(vshll_n_u16(vget_low_u16(x), 16)), words(vshll_high_n_u16(x, 16)),
             words(vshll_n_u16(vget_low_u16(y), 16)), words(vshll_high_n_u16(y, 16))}};
  }
};
template <int vectors>
struct HalfLines : ElementLines<vectors, 2> {
  template <int v>
  static OCTAVO_INLINE Vec::Ints step(const Dot&, const char* b) {
    const float16x8_t x = vreinterpretq_f16_u16(eight_halves(b + 32 * v));
    const float16x8_t y = vreinterpretq_f16_u16(eight_halves(b + 32 * v + 16));
    return bits_of(vcvt_f32_f16(vget_low_f16(x)), vcvt_high_f32_f16(x),
                   vcvt_f32_f16(vget_low_f16(y)), vcvt_high_f32_f16(y));
  }
};
template <int vectors>
struct Int8Lines : ElementLines<vectors, 1> {
  template <int v>
  static OCTAVO_INLINE Vec::Ints step(const Dot&, const char* b) {
    const int8x16_t codes = vreinterpretq_s8_u8(Part::load(b + 16 * v));
    const int16x8_t x = vmovl_s8(vget_low_s8(codes)), y = vmovl_high_s8(codes);
    return bits_of(vcvtq_f32_s32(vmovl_s16(vget_low_s16(x))), vcvtq_f32_s32(vmovl_high_s16(x)),
                   vcvtq_f32_s32(vmovl_s16(vget_low_s16(y))), vcvtq_f32_s32(vmovl_high_s16(y)));
  }
};
