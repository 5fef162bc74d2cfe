// SPDX-License-Identifier: Apache-2.0
// Divisions of many elements by few numbers: two products each, 2 steps where a division takes 10.
//
//   x / s ~ fused(x, inverse, x * rest)        inverse = 1 / s rounded, rest = what that leaves out
//
// Codes need the side of every tie on which the quotient, rounded to float32, lies. Let t = T 2^k
// be a tie, T odd and of at most tie_bits, s = S 2^i and x = X 2^j, S of 24 bits, X of at most as
// many. The rounded quotient is t, or lies beyond it, by the side of (T 2^u +- 1) 2^(k - u) on
// which the quotient lies, u >= 25 - tie_bits: by the sign of X 2^v - S T 2^u -+ S, X 2^v below
// 2^49 and v at least 23. All but S are multiples of 2^u, so that number is as far from 0 as S is
// from such a multiple, or 2^u and more (it is never 0: T 2^u +- 1 is odd, of 25 bits). In the same
// unit the products are off by less than kMostOff: the rest is rounded three times and is below s
// 2^-25 of 2^24 S. Scales too near a multiple, about one in 10^4 for int8, are left to divisions.
//
// Needs: fused, kLanesWithSigns, put_vector, Statistics, vector_at
// Gives: Inverting

#define OCTAVO_INLINE inline __attribute__((always_inline))

template <int lanes>
struct Inverting : Statistics<lanes> {
  using Base = Statistics<lanes>;
  using Base::ints;
  using Base::words;
  using typename Base::Floats;
  using typename Base::Ints;
  using typename Base::Words;

  /// Where products are fused.
  static constexpr bool kHasInverses = lanes == kLanesWithSigns;

  struct Inverse {
    Floats most, rest;
  };
  static OCTAVO_INLINE Floats quotient_of(Floats x, Floats divisor) { return x / divisor; }
  static OCTAVO_INLINE Floats quotient_of(Floats x, const Inverse& divisor) {
    return fused(x, divisor.most, x * divisor.rest);
  }

  // Factors whose products may lie beyond a tie, or leave the range of normal numbers.
  static OCTAVO_INLINE Ints unsure(Floats factor, int tie_bits) {
    constexpr std::uint32_t kMostOff = 6;
    const std::uint32_t multiple = 1U << (25 - tie_bits);
    const Words beyond = words(factor) & (multiple - 1);
    const Words distance = (beyond + (kMostOff - 1)) & (multiple - 1);
    const Ints close =
        (ints(beyond) != 0) & (ints(distance) < static_cast<std::int32_t>(2 * kMostOff - 1));
    const Ints inside = (factor >= 0x1p-60F) & (factor <= 0x1p60F);
    return close | ~inside;
  }

  static OCTAVO_INLINE void invert(Floats factor, int tie_bits, Floats& inverse, Floats& rest,
                                   Ints& doubts) {
    inverse = 1.0F / factor;
    rest = fused(-inverse, factor, Floats{} + 1.0F) * inverse;
    doubts |= unsure(factor, tie_bits);
  }
  static bool invert([[maybe_unused]] const float* factors, [[maybe_unused]] std::int64_t count,
                     [[maybe_unused]] int tie_bits, [[maybe_unused]] float* inverses,
                     [[maybe_unused]] float* rests) noexcept {
    if constexpr (!kHasInverses) {
      return false;
    } else {
      Ints doubts{};
      std::int64_t i = 0;
      for (; i + lanes <= count; i += lanes) {
        Floats inverse, left;
        invert(vector_at<Floats>(factors + i), tie_bits, inverse, left, doubts);
        put_vector(inverse, inverses + i);
        put_vector(left, rests + i);
      }
      if (i < count) {
        const std::size_t bytes = static_cast<std::size_t>(count - i) * sizeof(float);
        Floats factor = Floats{} + 1.0F, inverse, left;
        std::memcpy(&factor, factors + i, bytes);
        invert(factor, tie_bits, inverse, left, doubts);
        std::memcpy(inverses + i, &inverse, bytes);
        std::memcpy(rests + i, &left, bytes);
      }
      return Base::template largest_lane<lanes / 2>(-doubts)[0] == 0;
    }
  }
};
#undef OCTAVO_INLINE
