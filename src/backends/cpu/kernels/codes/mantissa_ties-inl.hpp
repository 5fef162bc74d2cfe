// SPDX-License-Identifier: Apache-2.0
// bfloat16 elements to fp8 codes under any one scale, in lanes of 16 bits:
//
//   x     s eeeeeeee mmmmmmm     m in 16 bins of 8 mantissas
//   code  (x's magnitude - less[bin]) >> shift            shift = 7 - the format's mantissa bits
//
// Ties of quotients that are normal numbers lie at least 8 mantissas apart, so that a bin holds at
// most one. `less` moves the first element of the bin that is rounded up to where a code begins:
//
//   mantissa  | first |      |      | up |      |     |      | last |
//   code      |   k                 | k + 1                         |
//
// Which element that is, is told by the quotient of the element nearest to scale times tie, and so
// has the codes of divisions. A step that holds other quotients than zeros and normal numbers goes
// the general way.
//
// Needs: any_below, Inverting, Lanes, looked_up, put_signed_halves, put_vector, subtract_saturated,
//        vector_at
// Gives: Ties

#define OCTAVO_INLINE inline __attribute__((always_inline))

template <int lanes>
struct Ties : Inverting<lanes> {
  using Base = Inverting<lanes>;
  using Base::ints;
  using Base::larger;
  using Base::quotient_of;
  using Base::smaller;
  using Base::words;
  using typename Base::Floats;
  using typename Base::Ints;
  using typename Base::Inverse;
  using typename Base::Words;
  using Halves = Lanes<std::uint16_t, 2 * lanes>;

  /// Of scales with inverses, in vectors that hold a number for each bin.
  static constexpr bool kServes = Base::kHasInverses && lanes == 16;
  template <octavo::FloatFormat F>
  static constexpr bool serves() {
    return kServes && F.sign_bit != 0 && !F.unsigned_zero && F.mantissa_bits <= 3;
  }

  // Floats whose bits are in memory, in every lane.
  static OCTAVO_INLINE Floats every(std::uint32_t bits) { return Base::floats(Words{} + bits); }

  /// What tables are made of, of a vector of scales: mantissas as numbers in [128, 256), which
  /// those of elements are, too, their inverses (as bits), and exponents.
  struct Scales {
    std::uint32_t number[lanes], inverse[lanes], rest[lanes], exponent[lanes], bound[lanes];
    template <octavo::FloatFormat F>
    OCTAVO_INLINE void take(Floats scale, const Inverse& inverse_of) {
      constexpr std::uint32_t kMantissa = 0x7FFFFFU;
      constexpr std::uint32_t kNormal = static_cast<std::uint32_t>(1 - F.bias) << 23;
      const Words bits = words(scale);
      const Floats power = Base::floats(bits & ~kMantissa) * 0x1p-7F;
      put_vector((bits & kMantissa) | (134U << 23), number);
      put_vector(words(inverse_of.most * power), inverse);
      put_vector(words(inverse_of.rest * power), rest);
      put_vector((bits >> 16) & ~0x7FU, exponent);
      put_vector((((bits + kNormal + 0xFFFFU) >> 16) - 1U) * 0x10001U, bound);
    }
  };

  template <octavo::FloatFormat F>
  struct Table {
    static constexpr int kShift = 7 - F.mantissa_bits;
    /// The bits of a scale from which no `less` is below 1.
    static constexpr std::uint32_t kLeast = static_cast<std::uint32_t>(F.bias + 3) << 23;

    Words less;           // in both halves of a bin's lane
    std::uint32_t bound;  // in both halves: the magnitude of the first normal quotient, less 1

    Table() = default;  // to be assigned
    OCTAVO_INLINE Table(const Scales& scales, std::int64_t j) : bound(scales.bound[j]) {
      constexpr int kDropped = 23 - F.mantissa_bits;
      constexpr std::uint32_t kHalf = 1U << (kDropped - 1);
      constexpr float kAlign = 0x1.8p23F;
      constexpr std::int32_t kAlignBits = 0x4B400000;
      constexpr std::int32_t kSpan = 1 << kShift;
      const Ints first = vector_at<Ints>(kFirst.at);
      const Floats middle = __builtin_convertvector(first, Floats) + 3.5F;
      const Inverse inverse{every(scales.inverse[j]), every(scales.rest[j])};
      const Words lower = words(middle * inverse.most) & ~(2 * kHalf - 1);
      const Words tie = lower | kHalf;
      const Floats aligned = Base::floats(tie) * every(scales.number[j]) + kAlign;
      // Of two codes beside a tie the even one is taken.
      const Ints quotient = ints(words(quotient_of(aligned - kAlign, inverse)));
      const Ints odd = ints((lower >> kDropped) & 1U);
      const Ints is_up = (ints(tie) - odd - quotient) >> 31;  // -1 where it is
      // The first element that is rounded up, as far as this bin can tell.
      const Ints up = ints(words(aligned)) + is_up;
      const Ints near =
          smaller(larger(up, first + (kAlignBits + 7 - kSpan)), first + (kAlignBits + kSpan - 1));
      constexpr std::int32_t kOffset = (127 - F.bias) * 128 - 127 - kSpan - kAlignBits;
      const Words each = words_of(near - ints(lower >> 16)) +
                         (scales.exponent[j] + static_cast<std::uint32_t>(kOffset));
      less = each | (each << 16);
    }

    /// Two vectors of elements. False where a quotient is neither 0 nor normal: nothing is written.
    OCTAVO_INLINE bool put(const char* source, std::uint8_t last, std::uint8_t* codes,
                           bool streamed) const {
      const Halves a = vector_at<Halves>(source);
      const Halves b = vector_at<Halves>(source + sizeof(Halves));
      const Halves a_magnitude = a & 0x7FFF, b_magnitude = b & 0x7FFF;
      const Words bounds = Words{} + bound;
      // Of zeros the largest number is compared.
      if (__builtin_expect(any_below(smaller(a_magnitude - 1, b_magnitude - 1),
                                     reinterpret_cast<const Halves&>(bounds)),
                           0)) {
        return false;
      }
      // Two neighbouring halves for each bin: places of 4 mantissas.
      const Halves table = reinterpret_cast<const Halves&>(less);
      put_signed_halves(subtract_saturated(a_magnitude, looked_up(table, a >> 2)) >> kShift,
                        subtract_saturated(b_magnitude, looked_up(table, b >> 2)) >> kShift, a, b,
                        last, codes, streamed);
      return true;
    }
  };
  static OCTAVO_INLINE Words words_of(Ints x) { return reinterpret_cast<const Words&>(x); }

  // The first mantissa of each bin.
  struct Firsts {
    alignas(64) std::int32_t at[16];
    constexpr Firsts() : at{} {
      for (int i = 0; i < 16; ++i) at[i] = 128 + 8 * i;
    }
  };
  static constexpr Firsts kFirst{};
};
#undef OCTAVO_INLINE
