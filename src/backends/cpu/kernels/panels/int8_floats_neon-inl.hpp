// SPDX-License-Identifier: Apache-2.0
// Four int8 codes of four columns as floats, exactly, in NEON, without conversions, which have two
// of the four pipes of today's CPUs and take each twice:
//
//   [b0 b1 b2 b3] of columns 0 .. 3
//      looked up:    halfwords b0 * 256 of the columns, then b1 * 256;  the same of b2 and b3
//      added to the bits of 1.5 * 2^15, whose last bits count 2^-8:     1.5 * 2^15 + b
//      1.5 * 2^15 subtracted:                                           b
//
// Needs: nothing
// Gives: Int8Floats
struct Int8Floats {
  explicit OCTAVO_INLINE Int8Floats(uint8x16_t codes)
      : first(halfwords<0>(codes)), last(halfwords<2>(codes)) {}
  // Element k of each column.
  template <int k>
  OCTAVO_INLINE float32x4_t floats() const {
    const float32x4_t far = vdupq_n_f32(0xC000);
    const int32x4_t bits = vreinterpretq_s32_f32(far);
    const int16x8_t codes = k < 2 ? first : last;
    const int32x4_t sum =
        k % 2 == 0 ? vaddw_s16(bits, vget_low_s16(codes)) : vaddw_high_s16(bits, codes);
    return vsubq_f32(vreinterpretq_f32_s32(sum), far);
  }

 private:
  // Elements k and k + 1; what is looked up beyond the codes is 0.
  template <std::uint16_t k>
  static OCTAVO_INLINE int16x8_t halfwords(uint8x16_t codes) {
    constexpr std::uint16_t kFirst = 256 * k + 0xFF, kSecond = kFirst + 256;
    const uint16x8_t places = {kFirst,  kFirst + 0x400,  kFirst + 0x800,  kFirst + 0xC00,
                               kSecond, kSecond + 0x400, kSecond + 0x800, kSecond + 0xC00};
    return vreinterpretq_s16_u8(vqtbl1q_u8(codes, vreinterpretq_u8_u16(places)));
  }
  int16x8_t first, last;
};
