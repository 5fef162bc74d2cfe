// SPDX-License-Identifier: Apache-2.0
// 64 bfloat16 elements to fp8 codes by a table of their mantissas, with 3 instructions for every 8
// elements. Where a quotient is a normal number of the format, its code is that of its mantissa,
// which is one of 128 under one scale, and so many binades more or less.
//
// For regions with VBMI.
//
// Needs: put_bytes
// Gives: Mantissas

#define OCTAVO_INLINE inline __attribute__((always_inline))

template <int lanes>
struct Mantissas {
  static_assert(lanes == 16);
  static constexpr bool kServes = true;
  static constexpr std::int64_t kEntries = 128;

  template <octavo::FloatFormat F>
  struct Table {
    static constexpr int kShift = 7 - F.mantissa_bits;  // of exponents to where codes have them
    __m512i front, back, most, bound;

    Table() = default;  // to be assigned
    // `codes` of the mantissas in the binade 2^(exponent - 127); codes end with `last`, elements
    // whose quotients are normal numbers begin with `least`.
    OCTAVO_INLINE Table(const std::uint8_t (&codes)[kEntries], std::uint32_t exponent,
                        std::uint32_t last, std::uint32_t least)
        : most(_mm512_set1_epi8(static_cast<char>(last))),
          bound(_mm512_set1_epi16(static_cast<short>(2 * least - 1))) {
      const __m512i own = _mm512_set1_epi8(static_cast<char>(exponent << F.mantissa_bits));
      front = _mm512_sub_epi8(_mm512_loadu_si512(codes), own);
      back = _mm512_sub_epi8(_mm512_loadu_si512(codes + 64), own);
    }

    // Says whether all elements are zeros or reach the bound: no codes are written otherwise.
    // Doubled and less 1, a zero is the largest number.
    OCTAVO_INLINE bool put(const char* source, std::uint8_t* codes, bool streamed) const {
      const __m512i first = _mm512_loadu_si512(source);
      const __m512i second = _mm512_loadu_si512(source + 64);
      const __m512i one = _mm512_set1_epi16(1);
      const __m512i first_twice = _mm512_add_epi16(first, first);
      const __m512i second_twice = _mm512_add_epi16(second, second);
      const __mmask32 below = _mm512_cmplt_epu16_mask(_mm512_sub_epi16(first_twice, one), bound) |
                              _mm512_cmplt_epu16_mask(_mm512_sub_epi16(second_twice, one), bound);
      if (__builtin_expect(below != 0, 0)) return false;
      const __mmask64 numbers = _mm512_kunpackd(_mm512_test_epi16_mask(second_twice, second_twice),
                                                _mm512_test_epi16_mask(first_twice, first_twice));
      const __m512i even = _mm512_load_si512(kEvenPlaces.at);
      const __m512i mantissas = _mm512_permutex2var_epi8(first, even, second);
      const __m512i exponents = _mm512_permutex2var_epi8(_mm512_srli_epi16(first, kShift), even,
                                                         _mm512_srli_epi16(second, kShift));
      constexpr std::uint32_t kAbove = 0x100U - (1U << F.mantissa_bits);
      const __m512i above =
          _mm512_and_si512(exponents, _mm512_set1_epi8(static_cast<char>(kAbove)));
      const __m512i within = _mm512_permutex2var_epi8(front, mantissas, back);
      const __m512i magnitudes =
          _mm512_min_epu8(_mm512_maskz_add_epi8(numbers, above, within), most);
      constexpr int kOrSecondAndThird = 0xF8;
      const __m512i odd = _mm512_permutex2var_epi8(first, _mm512_load_si512(kOddPlaces.at), second);
      put_bytes(
          _mm512_ternarylogic_epi32(magnitudes, odd, _mm512_set1_epi8(-128), kOrSecondAndThird),
          codes, streamed);
      return true;
    }
  };

  // The even or the odd bytes of two vectors.
  template <std::uint8_t first>
  struct Places {
    alignas(64) std::uint8_t at[64];
    constexpr Places() : at{} {
      for (std::size_t i = 0; i < 64; ++i) at[i] = static_cast<std::uint8_t>(2 * i + first);
    }
  };
  static constexpr Places<0> kEvenPlaces{};
  static constexpr Places<1> kOddPlaces{};
};
#undef OCTAVO_INLINE
