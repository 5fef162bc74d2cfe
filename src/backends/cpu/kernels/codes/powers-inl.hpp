// SPDX-License-Identifier: Apache-2.0
// bfloat16 elements to fp8 codes under scales that are powers of two, in lanes of 16 bits:
//
//   x     s eeeeeeee mmmmmmm          scale   2^(E - 127)
//   t     x's magnitude - ((E - bias) << 7)   exponent and mantissa as the format has them
//   code  t >> shift, to nearest even         shift = 7 - the format's mantissa bits
//
// The carry of a mantissa that is rounded up counts the exponent on. It holds where quotients are
// normal numbers of the format, or zeros; a step that has another one goes the general way.
//
// Needs: any_below, Lanes, put_signed_halves, subtract_saturated, vector_at
// Gives: Powers

#define OCTAVO_INLINE inline __attribute__((always_inline))

template <int lanes>
struct Powers {
  using Halves = Lanes<std::uint16_t, 2 * lanes>;
  using Words = Lanes<std::uint32_t, lanes>;

  /// What the codes of a vector of elements need of their cell, in both halves of a word: what is
  /// taken off, less what rounds, and the magnitude of the first normal quotient, less 1.
  struct Cell {
    std::uint32_t less, bound;
  };
  template <octavo::FloatFormat F>
  static constexpr bool serves() {
    return F.sign_bit != 0 && !F.unsigned_zero && F.mantissa_bits < 7;
  }

  template <octavo::FloatFormat F>
  struct Codes {
    static constexpr int kShift = 7 - F.mantissa_bits;
    static constexpr std::uint32_t kRound = (1U << (kShift - 1)) - 1;  // and 1 where it makes even
    /// The bits of a scale from which quotients' exponents do not wrap.
    static constexpr std::uint32_t kLeast = static_cast<std::uint32_t>(F.bias + 1) << 23;

    std::uint32_t last;  // the largest code
    explicit OCTAVO_INLINE Codes(std::uint32_t overflown) : last(overflown) {}

    /// Of scales from kLeast on, as bits.
    template <class Scale>
    static OCTAVO_INLINE void cell(Scale scale, Scale& less, Scale& bound) {
      const Scale start = (scale >> 16) - (static_cast<std::uint32_t>(F.bias) << 7);
      less = (start - kRound) * 0x10001U;
      bound = (start + 127U) * 0x10001U;
    }

    /// Two vectors of elements. False where a quotient is neither 0 nor normal: nothing is written.
    OCTAVO_INLINE bool put(const char* source, const Cell& front, const Cell& back,
                           std::uint8_t* codes, bool streamed) const {
      const Halves a = vector_at<Halves>(source);
      const Halves b = vector_at<Halves>(source + sizeof(Halves));
      const Halves a_magnitude = a & 0x7FFF, b_magnitude = b & 0x7FFF;
      // Of zeros the largest number is compared.
      if (__builtin_expect(
              any_below(a_magnitude - 1, halves(front.bound), b_magnitude - 1, halves(back.bound)),
              0)) {
        return false;
      }
      put_signed_halves(rounded(a_magnitude, halves(front.less)),
                        rounded(b_magnitude, halves(back.less)), a, b,
                        static_cast<std::uint8_t>(last), codes, streamed);
      return true;
    }
    static OCTAVO_INLINE Halves rounded(Halves magnitude, Halves less) {
      const Halves odd = (magnitude >> kShift) & 1;
      return (subtract_saturated(magnitude, less) + odd) >> kShift;
    }
    static OCTAVO_INLINE Halves halves(std::uint32_t word) {
      const Words words = Words{} + word;
      return reinterpret_cast<const Halves&>(words);
    }
  };
};
#undef OCTAVO_INLINE
