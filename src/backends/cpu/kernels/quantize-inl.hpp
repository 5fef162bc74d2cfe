// SPDX-License-Identifier: Apache-2.0
// Rows of activations to 8-bit codes, straight from the row's own type (specification section 6):
//
//   code[i] = cast(x[i] / scale)                            float8: to the nearest, ties to even
//   code[i] = clamp(round(x[i] / scale) + azp, low, high)   integers
//   code[i] = clamp(round(x[i] * (127 / absmax)), -127, 127), 0 for outliers      LLM.int8
//
// with a scale for each row, or for each `run` neighbours. 64 elements a step: four vectors of 16
// floats, or as many narrower ones, become 64 bytes. Where errors are asked for (errors-inl.hpp),
// the codes that files hold are measured in the registers that they are made in.
//
// Included after lanes-inl.hpp, errors-inl.hpp and inverses-inl.hpp inside an instruction-set
// region; every including file gets its own copy.
//
// The file that includes this defines the changes of width that widths-inl.hpp has.

#define OCTAVO_INLINE inline __attribute__((always_inline))

template <int lanes>
struct Quantize : Inverting<lanes> {
  using Base = Inverting<lanes>;
  using Base::choose;
  using Base::floats;
  using Base::ints;
  using Base::kHasInverses;
  using Base::larger;
  using Base::load;
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
  using ErrorsOf = Errors<lanes>;

  static constexpr std::int64_t kStep = 4 * lanes;  // elements of one turn of a loop
  static constexpr std::int64_t kLine = 64;         // bytes that a streaming store has to fill
  static constexpr std::int64_t kPiece = 512;       // elements whose factors are repeated at a time

  // The rules of the specification: from elements and what their cell has to codes in lanes, and,
  // where errors may be asked for, to the numbers that these are (kMagnitudes: without their
  // signs).

  // How codes leave their lanes.
  enum class Put {
    low_bytes,  // the low bytes, whatever is above them
    saturated,  // integers, cut to the type's range
    signs,      // codes of magnitudes in the second bytes; the sources' signs come on top
  };

  // Section 6 into int8 and uint8. With a near zero point the shifted range is exact in float32,
  // and saturating before the shift is saturating after it. `tame` as RowCodes has it.
  template <bool tame>
  struct ToInteger {
    static constexpr Put kPut = tame ? Put::saturated : Put::low_bytes;
    static constexpr bool kMagnitudes = false;
    static constexpr bool kInverts = tame;
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
  };
  // The same for zero points up to kWideAzp, whose shift takes integers of 32 bits.
  struct ToShiftedInteger {
    static constexpr Put kPut = Put::low_bytes;
    static constexpr bool kInverts = false;
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
    static constexpr Put kPut = signs ? Put::signs : Put::low_bytes;
    static constexpr bool kMagnitudes = true;
    static constexpr bool kInverts = tame;
    static constexpr int kShift = 23 - F.mantissa_bits;
    static constexpr std::uint32_t kMinNormal = static_cast<std::uint32_t>(128 - F.bias) << 23;
    static constexpr std::uint32_t kConstant =
        0U - ((kMinNormal >> kShift) + (static_cast<std::uint32_t>(kShift) << F.mantissa_bits));
    static constexpr std::uint32_t kAddend =
        (static_cast<std::uint32_t>(kShift) << 23) | (kConstant & 0xFFFFU);
    static_assert((kConstant & 1U) == 0, "an odd one would turn ties to even into ties to odd");

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
    explicit ToFloat8(const RowCodes& row)
        : most(static_cast<std::int32_t>((overflown(row) << kShift) +
                                         (static_cast<std::uint32_t>(127 - F.bias) << 23))),
          infinity(infinite(row)) {}
    template <class Divisor>
    OCTAVO_INLINE Words operator()(Floats x, Divisor divisor, Ints /*azp*/) const {
      Floats number;
      return (*this)(x, divisor, number);
    }
    // The number: of tame quotients that saturate.
    template <class Divisor>
    OCTAVO_INLINE Words operator()(Floats x, Divisor divisor, Floats& number) const {
      const Words bits = words(quotient_of(x, divisor));
      const Words all = bits & 0x7FFFFFFFU;
      const Words magnitude = words_of(smaller(ints(all), Ints{} + most));
      const Words binade = words_of(
          larger(ints(magnitude & 0x7F800000U), Ints{} + static_cast<std::int32_t>(kMinNormal)));
      if constexpr (signs) {
        // As below, in two steps. The code times 2^8: the constant makes the lower half negative.
        const Floats power = Floats{} + std::bit_cast<float>(kAddend + (127U << 23));
        const Floats sum = fused(floats(binade), power, floats(magnitude));
        number = fused(-floats(binade), power, sum);
        return sum_of_halves(words(sum), 256, 2 << F.mantissa_bits);
      } else {
        const Floats addend = floats(binade + kAddend);
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
    static OCTAVO_INLINE Words words_of(Ints x) { return reinterpret_cast<const Words&>(x); }
  };

  // Factors as they are given, and as inverses: the same for a vector, or one for each lane.
  struct Factors {
    const float* at;
    explicit OCTAVO_INLINE Factors(const RowCodes& row)
        : at(row.factors == nullptr ? &row.factor : row.factors) {}
    explicit OCTAVO_INLINE Factors(const float* given) : at(given) {}
    OCTAVO_INLINE Floats same(std::int64_t j) const { return Floats{} + at[j]; }
    OCTAVO_INLINE Floats each(std::int64_t i) const {
      return *reinterpret_cast<const Floats*>(at + i);
    }
  };
  struct Inverses {
    const float* most;
    const float* rest;
    explicit OCTAVO_INLINE Inverses(const RowCodes& row)
        : most(row.inverses), rest(row.inverse_rests) {}
    OCTAVO_INLINE Inverse same(std::int64_t j) const {
      return {Floats{} + most[j], Floats{} + rest[j]};
    }
    OCTAVO_INLINE Inverse each(std::int64_t i) const {
      return {*reinterpret_cast<const Floats*>(most + i),
              *reinterpret_cast<const Floats*>(rest + i)};
    }
  };

  // Where the factors (and zero points) of elements are: one for all, one for a number of them that
  // is known here, or one for each.
  template <class Divisors>
  struct One {
    static constexpr bool kAlike =
        true;  // the same for two neighbouring vectors, from an even one on
    decltype(std::declval<Divisors>().same(0)) factor;
    Ints azp;
    OCTAVO_INLINE One(const Divisors& divisors, const RowCodes& row)
        : factor(divisors.same(0)), azp(Ints{} + row.azp) {}
    OCTAVO_INLINE One(const Divisors& divisors, const RowCodes& row, std::int64_t j)
        : factor(divisors.same(j)), azp(Ints{} + (row.azps == nullptr ? 0 : row.azps[j])) {}
    OCTAVO_INLINE auto factors(std::int64_t /*i*/) const { return factor; }
    OCTAVO_INLINE Ints azps(std::int64_t /*i*/) const { return azp; }
  };
  template <class Divisors, std::int64_t run>
  struct Every {
    static constexpr bool kAlike = run % (2 * lanes) == 0;
    Divisors divisors;
    const std::int32_t* azp;
    OCTAVO_INLINE auto factors(std::int64_t i) const { return divisors.same(i / run); }
    OCTAVO_INLINE Ints azps(std::int64_t i) const {
      return azp == nullptr ? Ints{} : Ints{} + azp[i / run];
    }
  };
  template <class Divisors>
  struct Each {
    static constexpr bool kAlike = false;
    Divisors divisors;
    const std::int32_t* azp;
    OCTAVO_INLINE auto factors(std::int64_t i) const { return divisors.each(i); }
    OCTAVO_INLINE Ints azps(std::int64_t i) const {
      return azp == nullptr ? Ints{} : *reinterpret_cast<const Ints*>(azp + i);
    }
  };

  // A stretch of a row.
  struct Place {
    const char* source;
    const char* next;  // fetched meanwhile
    std::uint8_t* codes;
    bool streamed;
    OCTAVO_INLINE void advance(std::int64_t elements, std::int64_t bytes) {
      source += elements * bytes;
      next += elements * bytes;
      codes += elements;
    }
  };

  // Cells whose codes are measured under one scale: `scale` is the factor but in section 8.
  struct MeasuredCell : One<Factors> {
    Floats scale;
    float largest;
    typename ErrorsOf::Piece& piece;
    OCTAVO_INLINE MeasuredCell(const One<Factors>& cell, const RowCodes& row,
                               typename ErrorsOf::Piece& into)
        : One<Factors>(cell),
          scale(row.vectorwise ? Floats{} + row.scale : cell.factor),
          largest(row.largest),
          piece(into) {}
  };

  template <DType from, class Rule, class Cells>
  static OCTAVO_INLINE Words code(const Rule& rule, const Cells& cells, std::int64_t i,
                                  const char* source) {
    return rule(Base::template load<from>(source), cells.factors(i), cells.azps(i));
  }
  template <DType from, class Rule>
  static OCTAVO_INLINE Words code(const Rule& rule, const MeasuredCell& cell, std::int64_t i,
                                  const char* source) {
    const Floats x = Base::template load<from>(source);
    Floats number;
    const Words code = rule(x, cell.factor, number);
    const Floats w = Rule::kMagnitudes ? floats(words(x) & 0x7FFFFFFFU) : x;
    cell.piece.add(static_cast<int>(i / lanes % ErrorsOf::kParts), w, number, cell.scale,
                   cell.largest);
    return code;
  }
  template <DType from, class Rule, class Cells>
  static OCTAVO_INLINE void step(const Rule& rule, const Cells& cells, std::int64_t i,
                                 const char* source, std::uint8_t* codes, bool streamed) {
    constexpr std::int64_t kBytes = lanes * octavo::element_bytes(from);
    if constexpr (Rule::kPut == Put::signs && from == DType::bfloat16 && Cells::kAlike &&
                  !std::is_same_v<Cells, MeasuredCell>) {
      // Magnitudes of even and odd elements take fewer steps than those of neighbours.
      Words front;  // pairs of elements, at any address
      Words back;
      std::memcpy(&front, source, sizeof(front));
      std::memcpy(&back, source + 2 * kBytes, sizeof(back));
      put_with_signs(rule(even_magnitudes(front), cells.factors(i), cells.azps(i)),
                     rule(odd_magnitudes(front), cells.factors(i), cells.azps(i)),
                     rule(even_magnitudes(back), cells.factors(i + 2 * lanes), cells.azps(i)),
                     rule(odd_magnitudes(back), cells.factors(i + 2 * lanes), cells.azps(i)),
                     kEvenAndOdd, source, codes, streamed);
    } else {
      const Words a = code<from>(rule, cells, i, source);
      const Words b = code<from>(rule, cells, i + lanes, source + kBytes);
      const Words c = code<from>(rule, cells, i + 2 * lanes, source + 2 * kBytes);
      const Words d = code<from>(rule, cells, i + 3 * lanes, source + 3 * kBytes);
      if constexpr (Rule::kPut == Put::saturated) {
        put_saturated(a, b, c, d, codes, streamed, rule.to_signed);
      } else if constexpr (Rule::kPut == Put::signs) {
        put_with_signs(a, b, c, d, kFrontAndBack, source, codes, streamed);
      } else {
        put_low_bytes(a, b, c, d, codes, streamed);
      }
    }
  }
  // Of bfloat16 pairs.
  static OCTAVO_INLINE Floats even_magnitudes(Words pairs) {
    return floats((pairs << 16) & 0x7FFFFFFFU);
  }
  static OCTAVO_INLINE Floats odd_magnitudes(Words pairs) { return floats(pairs & 0x7FFF0000U); }

  // Fewer codes than a line, through a copy: nothing beyond them is touched.
  template <DType from, class Rule, class Cells>
  static void edge(const Rule& rule, const Cells& cells, std::int64_t i, const Place& place,
                   std::int64_t count) {
    constexpr std::int64_t kBytes = octavo::element_bytes(from);
    const char* source = place.source;
    std::uint8_t* codes = place.codes;
    while (count > 0) {
      const std::int64_t rest = count < kStep ? count : kStep;
      char padded[kStep * kBytes] = {};
      std::uint8_t more[kStep];
      std::memcpy(padded, source, static_cast<std::size_t>(rest * kBytes));
      step<from>(rule, cells, i, padded, more, false);
      std::memcpy(codes, more, static_cast<std::size_t>(rest));
      source += rest * kBytes;
      codes += rest;
      count -= rest;
      i += rest;
    }
  }

  // As many steps as there are; says where they end.
  template <DType from, class Rule, class Cells>
  static OCTAVO_INLINE std::int64_t whole_steps(const Rule& rule, const Cells& cells,
                                                std::int64_t i, Place& place, std::int64_t count) {
    constexpr std::int64_t kBytes = octavo::element_bytes(from);
    for (; i + kStep <= count; i += kStep) {
      for (std::int64_t line = 0; line < kStep * kBytes; line += kLine) {
        __builtin_prefetch(place.next + line);
      }
      step<from>(rule, cells, i, place.source, place.codes, place.streamed);
      place.advance(kStep, kBytes);
    }
    return i;
  }

  template <DType from, class Rule, class Cells>
  static OCTAVO_INLINE void along(const Rule& rule, const Cells& cells, Place place,
                                  std::int64_t count) {
    constexpr std::int64_t kBytes = octavo::element_bytes(from);
    std::int64_t i = 0;
    if (place.streamed) {
      const std::int64_t to_line = -reinterpret_cast<std::intptr_t>(place.codes) & (kLine - 1);
      i = to_line < count ? to_line : count;
      if (i > 0) edge<from>(rule, cells, 0, place, i);
      place.advance(i, kBytes);
    }
    i = whole_steps<from>(rule, cells, i, place, count);
    if (i < count) edge<from>(rule, cells, i, place, count - i);
  }

  // The values of `count` elements from element i on, each repeated over its run; `out` has room
  // for kStep more.
  template <class T>
  static void repeat(const T* values, std::int64_t run, std::int64_t i, std::int64_t count,
                     T* out) {
    std::int64_t j = i / run;
    for (std::int64_t at = 0, stop = (j + 1) * run - i; at < count; ++j, stop += run) {
      const std::int64_t end = stop < count ? stop : count;
      const Lanes<T, lanes> value = Lanes<T, lanes>{} + values[j];
      for (std::int64_t k = at; k < end; k += lanes) {
        *reinterpret_cast<Lanes<T, lanes>*>(out + k) = value;
      }
      at = end;
    }
  }

  // Elements from i on, through copies of their factors.
  template <DType from, class Rule>
  static __attribute__((noinline)) void codes_of_runs(const Rule& rule, const RowCodes& row,
                                                      std::int64_t i, Place place) {
    constexpr std::int64_t kBytes = octavo::element_bytes(from);
    float factors[kPiece + kStep];
    std::int32_t azps[kPiece + kStep] = {};
    for (; i < row.count; i += kPiece, place.advance(kPiece, kBytes)) {
      const std::int64_t count = kPiece < row.count - i ? kPiece : row.count - i;
      repeat(row.factors, row.run, i, count, factors);
      for (std::int64_t pad = count; pad < count + kStep; ++pad) factors[pad] = 1.0F;
      if (row.azps != nullptr) repeat(row.azps, row.run, i, count, azps);
      along<from>(rule, Each<Factors>{Factors(factors), azps}, place, count);
    }
  }

  template <DType from, class Rule, class Divisors>
  static void codes_by(const Divisors& divisors, const RowCodes& row) {
    constexpr std::int64_t kHalfStep = kStep / 2;
    const Rule rule(row);
    const auto* source = static_cast<const char*>(row.source);
    Place place{source, row.next == nullptr ? source : static_cast<const char*>(row.next),
                static_cast<std::uint8_t*>(row.codes), row.streamed};
    if (row.factors == nullptr) {
      return along<from>(rule, One<Divisors>(divisors, row), place, row.count);
    }
    // Runs that do not begin with a line would leave none whole.
    if ((reinterpret_cast<std::uintptr_t>(place.codes) & (kLine - 1)) != 0) place.streamed = false;
    std::int64_t i = 0;
    if (row.run == 1) {
      i = whole_steps<from>(rule, Each<Divisors>{divisors, row.azps}, 0, place, row.count);
    } else if (row.run == kHalfStep) {
      i = whole_steps<from>(rule, Every<Divisors, kHalfStep>{divisors, row.azps}, 0, place,
                            row.count);
    } else if (row.run % kStep == 0) {
      for (std::int64_t j = 0; i < row.count; ++j, i += row.run) {
        const One<Divisors> cell(divisors, row, j);
        const std::int64_t count = row.run < row.count - i ? row.run : row.count - i;
        const std::int64_t done = whole_steps<from>(rule, cell, 0, place, count);
        if (done < count) edge<from>(rule, cell, done, place, count - done);
      }
    }
    if (i < row.count) codes_of_runs<from>(rule, row, i, place);
  }
  template <DType from, class Rule>
  static void codes_as(const RowCodes& row) {
    if constexpr (kHasInverses && Rule::kInverts) {
      if (row.inverses != nullptr) return codes_by<from, Rule>(Inverses(row), row);
    }
    return codes_by<from, Rule>(Factors(row), row);
  }

  // Signs stay apart where that saves instructions: 2-byte elements in vectors that have the means.
  template <DType from, bool tame, octavo::FloatFormat F>
  using Float8Rule = ToFloat8<F, tame,
                              tame && lanes == kLanesWithSigns && !F.unsigned_zero &&
                                  octavo::element_bytes(from) == 2>;

  template <DType from, bool tame>
  static void codes_from(const RowCodes& row) {
    static constexpr auto kFloat8 = octavo::by_float8<void (*)(const RowCodes&)>(
        []<octavo::FloatFormat F>() { return &codes_as<from, Float8Rule<from, tame, F>>; });
    if (row.vectorwise) return codes_as<from, ToVectorwise>(row);
    if (octavo::is_float8(row.to)) return kFloat8[static_cast<std::size_t>(row.to)](row);
    if (!row.near) return codes_as<from, ToShiftedInteger>(row);
    return codes_as<from, ToInteger<tame>>(row);
  }
  template <DType from>
  static void unmeasured_of(const RowCodes& row) {
    return row.tame ? codes_from<from, true>(row) : codes_from<from, false>(row);
  }

  // Codes of cells that whole steps make, and their errors.
  template <DType from, class Rule>
  static void measured_as(const RowCodes& row) {
    const Rule rule(row);
    typename ErrorsOf::Row errors(*row.errors);
    const auto* source = static_cast<const char*>(row.source);
    Place place{source, row.next == nullptr ? source : static_cast<const char*>(row.next),
                static_cast<std::uint8_t*>(row.codes), false};
    const std::int64_t run = row.factors == nullptr ? row.count : row.run;
    for (std::int64_t begin = 0, j = 0; begin < row.count; begin += run, ++j) {
      const Factors factors(row);
      const One<Factors> cell =
          row.factors == nullptr ? One<Factors>(factors, row) : One<Factors>(factors, row, j);
      const std::int64_t end = run < row.count - begin ? begin + run : row.count;
      for (std::int64_t i = begin; i < end; i += ErrorsOf::kPieceElements) {
        const std::int64_t rest = end - i;
        const Place first = place;
        typename ErrorsOf::Piece piece;
        const std::int64_t count =
            rest < ErrorsOf::kPieceElements ? rest : ErrorsOf::kPieceElements;
        whole_steps<from>(rule, MeasuredCell(cell, row, piece), 0, place, count);
        if (!errors.take(piece)) errors.read(written(row, j, first.source, first.codes, count));
      }
    }
  }

  // Codes of cell j that are in memory.
  static octavo::cpu::CodeRow written(const RowCodes& row, std::int64_t j, const void* values,
                                      const void* codes, std::int64_t count) {
    const float factor = row.factors == nullptr ? row.factor : row.factors[j];
    return {.from = row.from,
            .values = values,
            .to = row.to,
            .codes = codes,
            .count = count,
            .scale = row.vectorwise ? row.scale : factor,
            .largest = row.largest};
  }

  template <DType from>
  static void measured_of(const RowCodes& row) {
    const std::int64_t run = row.factors == nullptr ? row.count : row.run;
    if (run % kStep == 0 && row.count % kStep == 0) {
      if (row.vectorwise) return measured_as<from, ToVectorwise>(row);
      if (row.tame && row.to == DType::int8) return measured_as<from, ToInteger<true>>(row);
      if (row.tame && row.to == DType::float8_e4m3fn) {
        constexpr octavo::FloatFormat kFormat = octavo::info(DType::float8_e4m3fn).format;
        return measured_as<from, Float8Rule<from, true, kFormat>>(row);
      }
    }
    unmeasured_of<from>(row);
    typename ErrorsOf::Row errors(*row.errors);
    for (std::int64_t i = 0, j = 0; i < row.count; i += run, ++j) {
      errors.read(written(
          row, j, static_cast<const char*>(row.source) + i * octavo::element_bytes(from),
          static_cast<const char*>(row.codes) + i, run < row.count - i ? run : row.count - i));
    }
  }

  template <DType from>
  static void codes_of(const RowCodes& row) {
    return row.errors == nullptr ? unmeasured_of<from>(row) : measured_of<from>(row);
  }
  static void codes(const RowCodes& row) noexcept {
    if (row.from == DType::float32) return codes_of<DType::float32>(row);
    if (row.from == DType::bfloat16) return codes_of<DType::bfloat16>(row);
    return codes_of<DType::float16>(row);
  }
};
#undef OCTAVO_INLINE
