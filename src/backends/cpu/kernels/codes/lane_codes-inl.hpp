// SPDX-License-Identifier: Apache-2.0
// From elements in lanes and what their cell has to 8-bit codes in lanes (specification sections 6
// and 8).
//
// Needs: fused, Inverting, sum_of_halves
// Gives: LaneCodes

#define OCTAVO_INLINE inline __attribute__((always_inline))

template <int lanes>
struct LaneCodes : Inverting<lanes> {
  using Base = Inverting<lanes>;
  using Base::choose;
  using Base::floats;
  using Base::ints;
  using Base::larger;
  using Base::quotient_of;
  using Base::smaller;
  using Base::where;
  using Base::words;
  using typename Base::DType;
  using typename Base::Floats;
  using typename Base::Ints;
  using typename Base::Inverse;
  using typename Base::Words;
  using RowCodes = octavo::cpu::RowCodes;

  // How codes leave their lanes. Where errors may be asked for, a rule gives the numbers, too, that
  // its codes are (kMagnitudes: without their signs).
  enum class Put {
    low_bytes,  // the low bytes, whatever is above them
    saturated,  // integers, cut to the type's range
    signs,      // codes of magnitudes in the second bytes, which are cut to the last one; the
                // sources' signs come on top
  };

  // Which loops of its own a rule has (quantize_rows-inl.hpp): one that takes many factors, one for
  // rows of one factor, too, as given scales are, or all, which rows of layers take. Of rules of
  // kInverts quotients may be so small that inverses of factors give them.
  enum class Loops { many, one_or_many, all };

  // Section 6 into int8 and uint8. With a near zero point the shifted range is exact in float32,
  // and saturating before the shift is saturating after it. `tame` as RowCodes has it.
  template <bool tame>
  struct ToInteger {
    static constexpr Put kPut = tame ? Put::saturated : Put::low_bytes;
    static constexpr bool kMagnitudes = false;
    static constexpr bool kInverts = tame;
    static constexpr Loops kLoops = tame ? Loops::all : Loops::one_or_many;
    bool to_signed;
    explicit ToInteger(const RowCodes& row) : to_signed(row.to == DType::int8) {}
    OCTAVO_INLINE Words operator()(Floats x, Floats divisor, Floats& number) const {
      const Floats aligned = x / divisor + kAlign;
      const Floats low = Floats{} + (to_signed ? -128.0F : 0.0F);
      number = smaller(larger(aligned - kAlign, low), low + 255.0F);
      return words(aligned) - kAlignBits;
    }
    template <class Divisor>
    OCTAVO_INLINE Words operator()(Floats x, Divisor divisor, Ints azp) const {
      const Floats quotient = quotient_of(x, divisor);
      const Words shift = reinterpret_cast<const Words&>(azp);
      if constexpr (tame) return words(quotient + kAlign) - kAlignBits + shift;
      const Floats number = floats(where(quotient == quotient, words(quotient)));
      const Floats low = __builtin_convertvector((to_signed ? -128 : 0) - azp, Floats);
      return words(smaller(larger(number, low), low + 255.0F) + kAlign) + shift;
    }
    // Of an inverse: a number of 16 bits in the lower half, the quotient's integer.
    OCTAVO_INLINE Words lower_half(Floats x, Inverse divisor) const {
      return words(quotient_of(x, divisor) + kAlign);
    }
  };
  // The same for zero points up to kWideAzp, whose shift takes integers of 32 bits.
  struct ToShiftedInteger {
    static constexpr Put kPut = Put::low_bytes;
    static constexpr bool kInverts = false;
    static constexpr Loops kLoops = Loops::many;
    std::int32_t low;
    explicit ToShiftedInteger(const RowCodes& row) : low(row.to == DType::int8 ? -128 : 0) {}
    OCTAVO_INLINE Words operator()(Floats x, Floats divisor, Ints azp) const {
      constexpr float kMost = 0x1.fffffep30F;  // of those that 32 bits hold
      constexpr float kWhole = 0x1p23F;        // from here on every number is an integer
      const Floats quotient = x / divisor;
      const Floats number = floats(where(quotient == quotient, words(quotient)));
      const Words inside = words(smaller(larger(number, Floats{} - kMost), Floats{} + kMost));
      const Floats magnitude = floats(inside & 0x7FFFFFFFU);
      const Floats rounded = (magnitude + kWhole) - kWhole;
      const Words whole = choose(magnitude < kWhole, words(rounded), words(magnitude));
      const Ints integer = __builtin_convertvector(floats(whole | (inside & 0x80000000U)), Ints);
      const Ints least = low - azp;
      const Ints code = smaller(larger(integer, least), least + 255) + azp;
      return reinterpret_cast<const Words&>(code);
    }
  };
  static constexpr float kAlign = 0x1.8p23F;  // adding it rounds to an integer in the low bits
  static constexpr std::uint32_t kAlignBits = 0x4B400000U;

  // Section 8: a product, symmetric; 0 for outliers.
  struct ToVectorwise {
    static constexpr Put kPut = Put::low_bytes;
    static constexpr bool kMagnitudes = false;
    static constexpr bool kInverts = false;
    static constexpr Loops kLoops = Loops::one_or_many;
    std::int32_t limit;
    explicit ToVectorwise(const RowCodes& row) : limit(static_cast<std::int32_t>(row.limit)) {}
    OCTAVO_INLINE Words operator()(Floats x, Floats factor, Floats& number) const {
      const Floats product = x * factor;  // NaN for an infinity and the factor 0
      const Ints kept = (ints(words(x) & 0x7FFFFFFFU) < limit) & (product == product);
      const Floats inside = floats(where(kept, words(product)));
      const Floats aligned = smaller(larger(inside, Floats{} - 127.0F), Floats{} + 127.0F) + kAlign;
      number = aligned - kAlign;
      return words(aligned) - kAlignBits;
    }
    OCTAVO_INLINE Words operator()(Floats x, Floats factor, Ints /*azp*/) const {
      Floats number;
      return (*this)(x, factor, number);
    }
  };

  // Section 6 into fp8, as octavo::encode. Added to a power of two that is 2^kShift times its own
  // binade's, a magnitude loses the bits that the format has no room for, to nearest even; below
  // the smallest normal number the power stays that number's. The sum's exponent then counts
  // binades and its last bits steps in one: together they are the code, but for a constant that
  // rides in the addend. A magnitude beyond the largest becomes that, or, by the rule of IEEE 754,
  // what follows it, which is infinity or NaN in every format.
  template <octavo::FloatFormat F, bool tame, bool signs>
  struct ToFloat8 {
    static constexpr octavo::FloatFormat kFormat = F;
    static constexpr Put kPut = signs ? Put::signs : Put::low_bytes;
    static constexpr bool kMagnitudes = true;
    static constexpr Loops kLoops = F.unsigned_zero ? Loops::many
                                    : tame          ? Loops::all
                                                    : Loops::one_or_many;
    static constexpr bool kInverts =
        tame && static_cast<int>(F.max_code >> F.mantissa_bits) - F.bias < 9;
    static constexpr int kShift = 23 - F.mantissa_bits;
    static constexpr std::uint32_t kMinNormal = static_cast<std::uint32_t>(128 - F.bias) << 23;
    static constexpr std::uint32_t kConstant =
        0U - ((kMinNormal >> kShift) + (static_cast<std::uint32_t>(kShift) << F.mantissa_bits));
    static constexpr std::uint32_t kAddend =
        (static_cast<std::uint32_t>(kShift) << 23) | (kConstant & 0xFFFFU);
    static_assert((kConstant & 1U) == 0, "an odd one would turn ties to even into ties to odd");
    static_assert(!signs || ((20 + F.bias) << F.mantissa_bits) < 256,
                  "codes of tame quotients, below 2^20, must fit a byte before they are cut");

    // The code of what is too large: that of the largest number, or what follows it.
    static OCTAVO_INLINE std::uint32_t overflown(const RowCodes& row) {
      return F.max_code + (row.overflow == octavo::Overflow::saturate ? 0U : 1U);
    }
    static OCTAVO_INLINE std::uint32_t infinite(const RowCodes& row) {
      if (F.inf_code != 0U) return F.inf_code;
      return row.shows_infinities ? F.nan_code : overflown(row);
    }

    std::int32_t most;       // as bits of float32
    std::uint32_t infinity;  // the code of an infinite element, without its sign
    std::uint8_t last;       // the code of `most`
    explicit ToFloat8(const RowCodes& row)
        : most(static_cast<std::int32_t>((overflown(row) << kShift) +
                                         (static_cast<std::uint32_t>(127 - F.bias) << 23))),
          infinity(infinite(row)),
          last(static_cast<std::uint8_t>(overflown(row))) {}
    template <class Divisor>
    OCTAVO_INLINE Words operator()(Floats x, Divisor divisor, Ints /*azp*/) const {
      Floats number;
      if constexpr (signs) {
        return of_magnitude(words(quotient_of(x, divisor)) & 0x7FFFFFFFU, number);
      }
      return (*this)(x, divisor, number);
    }
    // The number: of tame quotients that saturate.
    template <class Divisor>
    OCTAVO_INLINE Words operator()(Floats x, Divisor divisor, Floats& number) const {
      const Words bits = words(quotient_of(x, divisor));
      const Words all = bits & 0x7FFFFFFFU;
      if constexpr (signs) {
        return of_magnitude(words_of(smaller(ints(all), Ints{} + most)), number);
      } else {
        const Words magnitude = words_of(smaller(ints(all), Ints{} + most));
        const Floats addend = floats(binade_of(magnitude) + kAddend);
        const Floats total = floats(magnitude) + addend;
        number = total - addend;
        const Words sum = words(total);
        Words code = (sum >> kShift) + sum;
        if constexpr (!tame) {  // by the element: a quotient may overflow
          code = choose(ints(words(x) & 0x7FFFFFFFU) == 0x7F800000, Words{} + infinity, code);
          code = choose(ints(all) > 0x7F800000, Words{} + F.nan_code, code);
        }
        // Tame divisors are positive; products by halves of an inverse lose the sign of a zero.
        const Words sign = ((tame ? words(x) : bits) >> 24) & 0x80U;
        if constexpr (F.unsigned_zero) return code | where(ints(code << 24) != 0, sign);
        return code | sign;
      }
    }
    // The same of x that have no sign.
    template <class Divisor>
    OCTAVO_INLINE Words magnitude(Floats x, Divisor divisor) const {
      Floats number;
      return of_magnitude(words(quotient_of(x, divisor)), number);
    }
    // As above, in two steps. The code times 2^8: the constant makes the lower half negative. Of
    // tame quotients beyond the largest number a larger one, which a byte still holds.
    OCTAVO_INLINE Words of_magnitude(Words magnitude, Floats& number) const {
      const Floats binade = floats(binade_of(magnitude));
      const Floats power = Floats{} + std::bit_cast<float>(kAddend + (127U << 23));
      const Floats sum = fused(binade, power, floats(magnitude));
      number = fused(-binade, power, sum);
      return sum_of_halves(words(sum), 256, 2 << F.mantissa_bits);
    }
    static OCTAVO_INLINE Words binade_of(Words magnitude) {
      return words_of(
          larger(ints(magnitude & 0x7F800000U), Ints{} + static_cast<std::int32_t>(kMinNormal)));
    }
    static OCTAVO_INLINE Words words_of(Ints x) { return reinterpret_cast<const Words&>(x); }
  };
};
#undef OCTAVO_INLINE
