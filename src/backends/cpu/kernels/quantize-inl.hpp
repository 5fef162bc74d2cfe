// SPDX-License-Identifier: Apache-2.0
// Rows of activations to 8-bit codes: one pass for their range, one for their codes, both straight
// from the row's own type. Included after lanes-inl.hpp inside an instruction-set region; every
// including file gets its own copy.
//
// The file that includes this defines the changes of width that widths-inl.hpp has.

#define OCTAVO_INLINE inline __attribute__((always_inline))

template <int lanes>
struct Quantize {
  using Floats = Lanes<float, lanes>;
  using Ints = Lanes<std::int32_t, lanes>;
  using Words = Lanes<std::uint32_t, lanes>;
  using Halves = Lanes<std::uint16_t, lanes>;
  using DType = octavo::DType;
  using RowCodes = octavo::cpu::RowCodes;

  static constexpr std::int64_t kStep = 4 * lanes;  // elements of one turn of a loop

  static OCTAVO_INLINE Ints ints(Words x) { return reinterpret_cast<const Ints&>(x); }
  static OCTAVO_INLINE Words words(Floats x) { return reinterpret_cast<const Words&>(x); }
  static OCTAVO_INLINE Floats floats(Words x) { return reinterpret_cast<const Floats&>(x); }
  static OCTAVO_INLINE Words choose(Ints mask, Words a, Words b) { return mask ? a : b; }
  static OCTAVO_INLINE Words where(Ints mask, Words a) { return mask ? a : Words{}; }
  static OCTAVO_INLINE Floats smaller(Floats a, Floats b) { return a < b ? a : b; }
  static OCTAVO_INLINE Floats larger(Floats a, Floats b) { return a > b ? a : b; }
  static OCTAVO_INLINE Ints larger(Ints a, Ints b) { return a > b ? a : b; }

  // Elements as float32; a NaN stays one of its sign.
  template <DType from>
  static OCTAVO_INLINE Floats load(const char* source) {
    if constexpr (from == DType::float32) {
      return *reinterpret_cast<const Floats*>(source);
    } else {
      const Halves& codes = *reinterpret_cast<const Halves*>(source);
      if constexpr (from == DType::float16) return half_to_float(codes);
      return floats(wide_halves(codes) << 16);
    }
  }

  // The rules of the specification: from elements to codes in the low bytes.

  // Section 6 into int8 and uint8. With a zero point below 2^21 the shifted range is exact, and
  // saturating before the shift is saturating after it.
  struct ToInteger {
    float divisor, low, high;
    std::uint32_t shift;
    explicit ToInteger(const RowCodes& row)
        : divisor(row.factor),
          low(static_cast<float>((row.to == DType::int8 ? -128 : 0) - row.azp)),
          high(low + 255.0F),
          shift(static_cast<std::uint32_t>(row.azp) - kAlignBits) {}
    OCTAVO_INLINE Words operator()(Floats x) const {
      const Floats quotient = x / divisor;
      const Floats number = floats(where(quotient == quotient, words(quotient)));
      return words(smaller(larger(number, Floats{} + low), Floats{} + high) + kAlign) + shift;
    }
  };
  static constexpr float kAlign = 0x1.8p23F;  // adding it rounds to an integer in the low bits
  static constexpr std::uint32_t kAlignBits = 0x4B400000U;

  // Section 8: a product, symmetric; 0 for outliers.
  struct ToVectorwise {
    float factor;
    std::int32_t limit;
    explicit ToVectorwise(const RowCodes& row)
        : factor(row.factor), limit(static_cast<std::int32_t>(row.limit)) {}
    OCTAVO_INLINE Words operator()(Floats x) const {
      const Floats product = x * factor;  // NaN for an infinity and the factor 0
      const Ints kept = (ints(words(x) & 0x7FFFFFFFU) < limit) & (product == product);
      const Floats inside = floats(where(kept, words(product)));
      const Floats code = smaller(larger(inside, Floats{} - 127.0F), Floats{} + 127.0F);
      return words(code + kAlign) - kAlignBits;
    }
  };

  // Section 6 into fp8, as octavo::encode.
  template <octavo::FloatFormat F>
  struct ToFloat8 {
    float divisor;
    std::uint32_t overflowed;
    explicit ToFloat8(const RowCodes& row)
        : divisor(row.factor),
          overflowed(row.overflow == octavo::Overflow::saturate ? F.max_code
                     : F.inf_code != 0U                         ? F.inf_code
                                                                : F.nan_code) {}
    OCTAVO_INLINE Words operator()(Floats x) const {
      constexpr int kShift = 23 - F.mantissa_bits;
      constexpr std::uint32_t kRebias = static_cast<std::uint32_t>(127 - F.bias) << F.mantissa_bits;
      constexpr std::int32_t kMinNormal = (128 - F.bias) << 23;
      constexpr auto kAlignTiny = static_cast<std::uint32_t>(151 - F.bias - F.mantissa_bits) << 23;
      const Words bits = words(x / divisor);
      const Words magnitude = bits & 0x7FFFFFFFU;
      const Words odd = (magnitude >> kShift) & 1U;
      const Words normal = ((magnitude + ((1U << (kShift - 1)) - 1U) + odd) >> kShift) - kRebias;
      const Ints small = ints(magnitude) < kMinNormal;
      const Words tiny =
          words(floats(where(small, magnitude)) + std::bit_cast<float>(kAlignTiny)) - kAlignTiny;
      Words code = choose(small, tiny, normal);
      code = choose(ints(code) > static_cast<std::int32_t>(F.max_code), Words{} + overflowed, code);
      if constexpr (F.inf_code != 0U) {
        code = choose(ints(magnitude) == 0x7F800000, Words{} + F.inf_code, code);
      }
      code = choose(ints(magnitude) > 0x7F800000, Words{} + F.nan_code, code);
      const Words sign = (bits >> 24) & 0x80U;
      if constexpr (F.unsigned_zero) return code | where(ints(code) != 0, sign);
      return code | sign;
    }
  };

  template <DType from, class Rule>
  static OCTAVO_INLINE void step(const Rule& rule, const char* source, std::uint8_t* codes) {
    constexpr std::int64_t kBytes = lanes * octavo::element_bytes(from);
    put_low_bytes(rule(load<from>(source)), rule(load<from>(source + kBytes)),
                  rule(load<from>(source + 2 * kBytes)), rule(load<from>(source + 3 * kBytes)),
                  codes);
  }

  template <DType from, class Rule>
  static void codes_as(const RowCodes& row) {
    constexpr std::int64_t kBytes = octavo::element_bytes(from);
    const Rule rule(row);
    const auto* source = static_cast<const char*>(row.source);
    auto* codes = static_cast<std::uint8_t*>(row.codes);
    std::int64_t rest = row.count;
    for (; rest >= kStep; rest -= kStep, source += kStep * kBytes, codes += kStep) {
      step<from>(rule, source, codes);
    }
    if (rest == 0) return;
    char padded[kStep * kBytes] = {};
    std::uint8_t more[kStep];
    std::memcpy(padded, source, static_cast<std::size_t>(rest * kBytes));
    step<from>(rule, padded, more);
    std::memcpy(codes, more, static_cast<std::size_t>(rest));
  }

  template <DType from>
  static void codes_from(const RowCodes& row) {
    if (row.vectorwise) return codes_as<from, ToVectorwise>(row);
    switch (row.to) {
      case DType::float8_e4m3fn:
        return codes_as<from, ToFloat8<octavo::kE4M3FN>>(row);
      case DType::float8_e4m3fnuz:
        return codes_as<from, ToFloat8<octavo::kE4M3FNUZ>>(row);
      case DType::float8_e5m2:
        return codes_as<from, ToFloat8<octavo::kE5M2>>(row);
      case DType::float8_e5m2fnuz:
        return codes_as<from, ToFloat8<octavo::kE5M2FNUZ>>(row);
      default:
        return codes_as<from, ToInteger>(row);
    }
  }

  static void codes(const RowCodes& row) noexcept {
    if (row.from == DType::float32) return codes_from<DType::float32>(row);
    if (row.from == DType::bfloat16) return codes_from<DType::bfloat16>(row);
    return codes_from<DType::float16>(row);
  }

  template <int by, class Vector, std::size_t... i>
  static OCTAVO_INLINE Vector rotated(Vector x, std::index_sequence<i...>) {
    return __builtin_shufflevector(x, x, ((static_cast<int>(i) + by) % lanes)...);
  }
  // Every lane of the result.
  template <int by, class Vector>
  static OCTAVO_INLINE Vector largest_lane(Vector x) {
    if constexpr (by == 0) {
      return x;
    } else {
      return largest_lane<by / 2>(larger(x, rotated<by>(x, std::make_index_sequence<lanes>())));
    }
  }

  // Magnitudes compare as integers, which need no order of evaluation.
  struct Absmax {
    std::int32_t below;
    Ints most{};
    OCTAVO_INLINE void add(Floats x) {
      const Words magnitude = words(x) & 0x7FFFFFFFU;
      most = larger(most, ints(where(ints(magnitude) < below, magnitude)));
    }
    OCTAVO_INLINE float result() const {
      const Ints largest = largest_lane<lanes / 2>(most);
      return std::bit_cast<float>(std::int32_t{largest[0]});
    }
  };

  // Of the finite elements and 0.
  struct Range {
    Floats low{}, high{};
    OCTAVO_INLINE void add(Floats x) {
      const Ints finite = ints(words(x) & 0x7FFFFFFFU) < 0x7F800000;
      const Floats number = floats(where(finite, words(x)));
      low = smaller(number, low);
      high = larger(number, high);
    }
    OCTAVO_INLINE void result(float& least, float& most) const {
      least = -largest_lane<lanes / 2>(-low)[0];
      most = largest_lane<lanes / 2>(high)[0];
    }
  };

  template <DType from, class Reduction>
  static void reduce_as(const void* row, std::int64_t count, Reduction& reduction) {
    constexpr std::int64_t kBytes = octavo::element_bytes(from);
    const auto* source = static_cast<const char*>(row);
    Reduction inner = reduction;  // in registers
    for (; count >= lanes; count -= lanes, source += lanes * kBytes) inner.add(load<from>(source));
    if (count > 0) {
      char padded[lanes * kBytes] = {};
      std::memcpy(padded, source, static_cast<std::size_t>(count * kBytes));
      inner.add(load<from>(padded));
    }
    reduction = inner;
  }
  template <class Reduction>
  static void reduce(DType from, const void* row, std::int64_t count, Reduction& reduction) {
    if (from == DType::float32) return reduce_as<DType::float32>(row, count, reduction);
    if (from == DType::bfloat16) return reduce_as<DType::bfloat16>(row, count, reduction);
    return reduce_as<DType::float16>(row, count, reduction);
  }

  static float absmax(DType from, const void* row, std::int64_t count,
                      std::uint32_t limit) noexcept {
    Absmax reduction{static_cast<std::int32_t>(limit)};
    reduce(from, row, count, reduction);
    return reduction.result();
  }
  static void range(DType from, const void* row, std::int64_t count, float& least,
                    float& most) noexcept {
    Range reduction;
    reduce(from, row, count, reduction);
    reduction.result(least, most);
  }
};
#undef OCTAVO_INLINE
