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
// Here are the steps; quantize_rows-inl.hpp has the rows that take them.
//
// Changes of width are those of widths-inl.hpp, or an instruction set's own.
//
// Needs: Errors, LaneCodes, Lanes, Mantissas, Powers, put_low_bytes, put_lower_halves,
//        put_saturated, put_with_signs, Ties, vector_at
// Gives: QuantizeSteps

#define OCTAVO_INLINE inline __attribute__((always_inline))

template <int lanes>
struct QuantizeSteps : LaneCodes<lanes> {
  using Base = LaneCodes<lanes>;
  using Base::floats;
  using Base::kHasInverses;
  using Base::words;
  using typename Base::DType;
  using typename Base::Floats;
  using typename Base::Ints;
  using typename Base::Inverse;
  using typename Base::Put;
  using typename Base::Words;
  using RowCodes = octavo::cpu::RowCodes;
  using ErrorsOf = Errors<lanes>;

  static constexpr std::int64_t kStep = 4 * lanes;  // elements of one turn of a loop
  static constexpr std::int64_t kLine = 64;         // bytes that a streaming store has to fill

  // Factors as they are given, and as inverses: the same for a vector, or one for each lane.
  struct Factors {
    const float* at;
    explicit OCTAVO_INLINE Factors(const RowCodes& row)
        : at(row.factors == nullptr ? &row.factor : row.factors) {}
    explicit OCTAVO_INLINE Factors(const float* given) : at(given) {}
    OCTAVO_INLINE Factors behind(std::int64_t j) const { return Factors(at + j); }
    OCTAVO_INLINE Floats same(std::int64_t j) const { return Floats{} + at[j]; }
    OCTAVO_INLINE Floats each(std::int64_t i) const { return vector_at<Floats>(at + i); }
  };
  struct Inverses {
    const float* most;
    const float* rest;
    explicit OCTAVO_INLINE Inverses(const RowCodes& row)
        : Inverses(row.inverses, row.inverse_rests) {}
    OCTAVO_INLINE Inverses(const float* inverses, const float* rests)
        : most(inverses), rest(rests) {}
    OCTAVO_INLINE Inverses behind(std::int64_t j) const { return {most + j, rest + j}; }
    OCTAVO_INLINE Inverse same(std::int64_t j) const {
      return {Floats{} + most[j], Floats{} + rest[j]};
    }
    OCTAVO_INLINE Inverse each(std::int64_t i) const {
      return {vector_at<Floats>(most + i), vector_at<Floats>(rest + i)};
    }
  };

  // A zero point in both halves of lanes, where integers of quotients below 2^9 are: of a far one,
  // what saturates as well.
  static OCTAVO_INLINE Words in_halves(std::int32_t azp) {
    constexpr std::int32_t kFar = 1 << 12;
    const std::int32_t near = azp < -kFar ? -kFar : azp > kFar ? kFar : azp;
    return Words{} + static_cast<std::uint32_t>(near & 0xFFFF) * 0x10001U;
  }

  // Where the factors (and zero points) of elements are: one for all, one for a number of them that
  // is known here, or one for each.
  template <class Divisors>
  struct One {
    // Are factors(i) and factors(i + lanes), of two neighbouring vectors from an even one on, those
    // of their even and odd elements?
    static constexpr bool kInPairs = true;
    static constexpr bool kOneAStep = true;
    static constexpr bool kInverted = std::is_same_v<Divisors, Inverses>;
    static constexpr bool kByBits = false;
    decltype(std::declval<Divisors>().same(0)) factor;
    std::int32_t azp;
    OCTAVO_INLINE One(const Divisors& divisors, const RowCodes& row)
        : factor(divisors.same(0)), azp(row.azp) {}
    OCTAVO_INLINE One(const Divisors& divisors, const RowCodes& row, std::int64_t j)
        : factor(divisors.same(j)), azp(row.azps == nullptr ? 0 : row.azps[j]) {}
    OCTAVO_INLINE const auto& factors(std::int64_t /*i*/) const { return factor; }
    OCTAVO_INLINE Ints azps(std::int64_t /*i*/) const { return Ints{} + azp; }
    OCTAVO_INLINE Words halves(std::int64_t /*i*/) const { return in_halves(azp); }
  };
  template <class Divisors, std::int64_t run>
  struct Every {
    static constexpr bool kInPairs = run % (2 * lanes) == 0;
    static constexpr bool kOneAStep = run % kStep == 0;
    static constexpr bool kInverted = std::is_same_v<Divisors, Inverses>;
    static constexpr bool kByBits = false;
    Divisors divisors;
    const std::int32_t* azp;
    OCTAVO_INLINE auto factors(std::int64_t i) const { return divisors.same(i / run); }
    OCTAVO_INLINE Ints azps(std::int64_t i) const {
      return azp == nullptr ? Ints{} : Ints{} + azp[i / run];
    }
    OCTAVO_INLINE Words halves(std::int64_t i) const {
      return azp == nullptr ? Words{} : in_halves(azp[i / run]);
    }
  };
  template <class Divisors>
  struct Each {
    static constexpr bool kInPairs = false;
    static constexpr bool kOneAStep = false;
    static constexpr bool kInverted = std::is_same_v<Divisors, Inverses>;
    static constexpr bool kByBits = false;
    Divisors divisors;
    const std::int32_t* azp;
    OCTAVO_INLINE auto factors(std::int64_t i) const { return divisors.each(i); }
    OCTAVO_INLINE Ints azps(std::int64_t i) const {
      return azp == nullptr ? Ints{} : vector_at<Ints>(azp + i);
    }
  };
  // The factors of even elements before those of odd ones, of two vectors each.
  template <class Divisors>
  struct EachInPairs : Each<Divisors> {
    static constexpr bool kInPairs = true;
  };

  // bfloat16 elements whose codes are told from their bits: by a table of their mantissas, under
  // one scale (mantissas_avx512-inl.hpp), or under scales that are powers of two (powers-inl.hpp).
  // Steps that hold other quotients than zeros and normal numbers are not.
  template <octavo::FloatFormat F>
  using Table = typename Mantissas<lanes>::template Table<F>;

  template <octavo::FloatFormat F>
  struct OneByMantissa : One<Inverses> {
    static constexpr bool kByBits = true;
    const Table<F>& table;
    OCTAVO_INLINE bool put(std::int64_t /*i*/, const char* source, std::uint8_t* codes,
                           bool streamed) const {
      return table.put(source, codes, streamed);
    }
  };

  template <octavo::FloatFormat F>
  using TiesOf = typename Ties<lanes>::template Table<F>;
  // Of a multiple of kStep elements; the factor is looked for where it is needed.
  template <octavo::FloatFormat F>
  struct OneByTies {
    static constexpr bool kInPairs = true;
    static constexpr bool kOneAStep = true;
    static constexpr bool kInverted = true;
    static constexpr bool kByBits = true;
    Inverses inverses;
    TiesOf<F> table;
    std::uint8_t last;
    OCTAVO_INLINE Inverse factors(std::int64_t /*i*/) const { return inverses.same(0); }
    OCTAVO_INLINE Ints azps(std::int64_t /*i*/) const { return Ints{}; }
    OCTAVO_INLINE bool put(std::int64_t /*i*/, const char* source, std::uint8_t* codes,
                           bool streamed) const {
      return table.put(source, last, codes, streamed);
    }
  };

  template <octavo::FloatFormat F>
  using PowersOf = typename Powers<lanes>::template Codes<F>;
  using PowersCell = typename Powers<lanes>::Cell;
  // Of a multiple of kStep elements, or of kStep / 2.
  template <class Divisors, octavo::FloatFormat F>
  struct OneByPower : One<Divisors> {
    static constexpr bool kByBits = true;
    PowersOf<F> codes_of;
    PowersCell own;
    OCTAVO_INLINE bool put(std::int64_t /*i*/, const char* source, std::uint8_t* codes,
                           bool streamed) const {
      return codes_of.put(source, own, own, codes, streamed);
    }
  };
  template <class Divisors, octavo::FloatFormat F>
  struct HalvesByPower : Every<Divisors, kStep / 2> {
    static constexpr bool kByBits = true;
    PowersOf<F> codes_of;
    const std::uint32_t* less;
    const std::uint32_t* bound;
    OCTAVO_INLINE bool put(std::int64_t i, const char* source, std::uint8_t* codes,
                           bool streamed) const {
      const std::int64_t j = i / (kStep / 2);
      return codes_of.put(source, {less[j], bound[j]}, {less[j + 1], bound[j + 1]}, codes,
                          streamed);
    }
  };

  // A stretch of a row.
  struct Place {
    const char* source;
    const char* next;  // fetched meanwhile
    std::uint8_t* codes;
    bool streamed;
    explicit OCTAVO_INLINE Place(const RowCodes& row)
        : source(static_cast<const char*>(row.source)),
          next(row.next == nullptr ? source : static_cast<const char*>(row.next)),
          codes(static_cast<std::uint8_t*>(row.codes)),
          streamed(row.streamed) {}
    // The r-th of the rows of a cell.
    OCTAVO_INLINE Place row(const RowCodes& of, std::int64_t r) const {
      Place own = *this;
      own.source += r * of.source_step;
      own.next += r * of.source_step;
      own.codes += r * of.code_step;
      return own;
    }
    OCTAVO_INLINE void advance(std::int64_t elements, std::int64_t bytes) {
      source += elements * bytes;
      next += elements * bytes;
      codes += elements;
    }
    // Beside a step, and beside fewer elements. Rows of float32 are fetched into the second-level
    // cache: the first does not hold two of them.
    template <DType from, int level = from == DType::float32 ? 2 : 1>
    OCTAVO_INLINE void look_ahead() {
      for (std::int64_t line = 0; line < kStep * octavo::element_bytes(from); line += kLine) {
        __builtin_prefetch(next + line, 0, 4 - level);
      }
    }
    template <DType from>
    OCTAVO_INLINE void look_ahead(std::int64_t /*count*/) {}
  };
  // What comes next is fetched into the second-level cache.
  struct FarPlace : Place {
    explicit OCTAVO_INLINE FarPlace(const Place& place) : Place(place) {}
    template <DType from>
    OCTAVO_INLINE void look_ahead() {
      Place::template look_ahead<from, 2>();
    }
    template <DType from>
    OCTAVO_INLINE void look_ahead(std::int64_t count) {
      Place::template look_ahead<from>(count);
    }
  };
  // What comes next is read instead of fetched: for its largest magnitude.
  template <DType of>
  struct FindingPlace : Place {
    using Raw = typename Base::template RawOf<of>;
    std::int32_t* most;
    typename Raw::Vector even{}, odd{};
    OCTAVO_INLINE FindingPlace(const Place& place, std::int32_t* found)
        : Place(place), most(found) {}
    template <DType from>
    OCTAVO_INLINE void look_ahead() {
      constexpr std::int64_t kBytes = kStep * octavo::element_bytes(from);
      for (std::int64_t i = 0; i < kBytes; i += 2 * Raw::kBytes) {
        even = Base::larger(even, Raw::magnitudes(this->next + i));
        odd = Base::larger(odd, Raw::magnitudes(this->next + i + Raw::kBytes));
      }
    }
    template <DType from>
    OCTAVO_INLINE void look_ahead(std::int64_t count) {
      Base::template raise<from>(this->next, count, most, nullptr);
    }
    OCTAVO_INLINE void finish() {
      const typename Raw::Vector largest = Base::larger(even, odd);
      Base::template raise<of>(reinterpret_cast<const char*>(&largest), Raw::kLanes, most, nullptr);
    }
  };

  // The same for its range. Of finite elements of both signs, the largest as integers with signs is
  // the highest, the largest without signs the lowest; other rows are read once more.
  struct EndsPlace : Place {
    static constexpr DType kFrom = DType::bfloat16;
    using Signed = typename Base::template RawOf<kFrom>::Vector;
    using Unsigned = Lanes<std::uint16_t, 2 * lanes>;
    octavo::cpu::CellEnds* ends;
    std::int64_t all;
    const char* first;
    Signed even_high{}, odd_high{};
    Unsigned even_low{}, odd_low{};
    OCTAVO_INLINE EndsPlace(const Place& place, const RowCodes& row)
        : Place(place), ends(row.next_ends), all(row.count), first(place.next) {}
    template <DType from>
    OCTAVO_INLINE void look_ahead() {
      static_assert(from == kFrom && kStep == 2 * Base::template RawOf<kFrom>::kLanes);
      const char* odd = this->next + sizeof(Signed);
      even_high = Base::larger(even_high, vector_at<Signed>(this->next));
      even_low = Base::larger(even_low, vector_at<Unsigned>(this->next));
      odd_high = Base::larger(odd_high, vector_at<Signed>(odd));
      odd_low = Base::larger(odd_low, vector_at<Unsigned>(odd));
    }
    template <DType from>
    OCTAVO_INLINE void look_ahead(std::int64_t count) {
      Base::template widen<from>(this->next, count, &ends->low, &ends->high, &ends->most);
    }
    OCTAVO_INLINE void finish() {
      constexpr int kHalf = Base::template RawOf<kFrom>::kLanes / 2;
      constexpr std::int32_t kInfinite = 0x7F80, kNegative = 0x8000;
      const std::int32_t high =
          Base::template largest_lane<kHalf>(Base::larger(even_high, odd_high))[0];
      const std::int32_t low =
          Base::template largest_lane<kHalf>(Base::larger(even_low, odd_low))[0];
      const bool unpacked =
          high > 0 && high < kInfinite && low > kNegative && low < (kNegative | kInfinite);
      if (!unpacked) {
        return Base::template widen<kFrom>(first, all, &ends->low, &ends->high, &ends->most);
      }
      const std::int32_t up = high << 16, down = (low - kNegative) << 16;
      const std::int32_t most = up > down ? up : down;
      const float top = std::bit_cast<float>(up), bottom = -std::bit_cast<float>(down);
      ends->low = bottom < ends->low ? bottom : ends->low;
      ends->high = top > ends->high ? top : ends->high;
      ends->most = most > ends->most ? most : ends->most;
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
  // Even and odd elements of pairs take fewer steps than neighbours.
  template <DType from, class Rule, class Cells>
  static constexpr bool kTakesPairs =
      from == DType::bfloat16&& Cells::kInPairs && !std::is_same_v<Cells, MeasuredCell> &&
      (Rule::kPut == Put::signs || (Rule::kPut == Put::saturated && Cells::kInverted));
  template <DType from, class Rule, class Cells>
  static OCTAVO_INLINE void step(const Rule& rule, const Cells& cells, std::int64_t i,
                                 const char* source, std::uint8_t* codes, bool streamed) {
    constexpr std::int64_t kBytes = lanes * octavo::element_bytes(from);
    if constexpr (Cells::kByBits) {
      if (cells.put(i, source, codes, streamed)) return;
    }
    [[maybe_unused]] const std::int64_t next = Cells::kOneAStep ? i : i + 2 * lanes;
    if constexpr (kTakesPairs<from, Rule, Cells> && Rule::kPut == Put::signs) {
      const Words front = pairs_at(source);
      const Words back = pairs_at(source + 2 * kBytes);
      put_with_signs<octavo::element_bytes(from), true>(
          rule.magnitude(even_magnitudes(front), cells.factors(i)),
          rule.magnitude(odd_magnitudes(front), cells.factors(i + lanes)),
          rule.magnitude(even_magnitudes(back), cells.factors(next)),
          rule.magnitude(odd_magnitudes(back), cells.factors(next + lanes)), rule.last, source,
          codes, streamed);
    } else if constexpr (kTakesPairs<from, Rule, Cells>) {
      const Words front = pairs_at(source);
      const Words back = pairs_at(source + 2 * kBytes);
      put_lower_halves(rule.lower_half(floats(front << 16), cells.factors(i)),
                       rule.lower_half(floats(front & 0xFFFF0000U), cells.factors(i + lanes)),
                       rule.lower_half(floats(back << 16), cells.factors(next)),
                       rule.lower_half(floats(back & 0xFFFF0000U), cells.factors(next + lanes)),
                       cells.halves(i), cells.halves(next), codes, streamed, rule.to_signed);
    } else {
      const Words a = code<from>(rule, cells, i, source);
      const Words b = code<from>(rule, cells, i + lanes, source + kBytes);
      const Words c = code<from>(rule, cells, i + 2 * lanes, source + 2 * kBytes);
      const Words d = code<from>(rule, cells, i + 3 * lanes, source + 3 * kBytes);
      if constexpr (Rule::kPut == Put::saturated) {
        put_saturated(a, b, c, d, codes, streamed, rule.to_signed);
      } else if constexpr (Rule::kPut == Put::signs) {
        put_with_signs<octavo::element_bytes(from), false>(a, b, c, d, rule.last, source, codes,
                                                           streamed);
      } else {
        put_low_bytes(a, b, c, d, codes, streamed);
      }
    }
  }
  // bfloat16 pairs, at any address.
  static OCTAVO_INLINE Words pairs_at(const char* source) {
    Words pairs;
    std::memcpy(&pairs, source, sizeof(pairs));
    return pairs;
  }
  static OCTAVO_INLINE Floats even_magnitudes(Words pairs) {
    return floats((pairs << 16) & 0x7FFFFFFFU);
  }
  static OCTAVO_INLINE Floats odd_magnitudes(Words pairs) { return floats(pairs & 0x7FFF0000U); }

  // Fewer codes than a line, through a copy: nothing beyond them is touched.
  template <DType from, class Rule, class Cells, class Where>
  static void edge(const Rule& rule, const Cells& cells, std::int64_t i, Where& place,
                   std::int64_t count) {
    constexpr std::int64_t kBytes = octavo::element_bytes(from);
    place.template look_ahead<from>(count);
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

  // As many steps as there are; says where they end. Copies stay in registers: what is in memory
  // may be what codes are written to.
  template <DType from, class Rule, class Cells, class Where>
  static OCTAVO_INLINE std::int64_t whole_steps(const Rule& rule, const Cells& cells,
                                                std::int64_t i, Where& place, std::int64_t count) {
    constexpr std::int64_t kBytes = octavo::element_bytes(from);
    const Rule own_rule = rule;
    const Cells own_cells = cells;
    Where own = place;
    for (; i + kStep <= count; i += kStep) {
      own.template look_ahead<from>();
      step<from>(own_rule, own_cells, i, own.source, own.codes, own.streamed);
      own.advance(kStep, kBytes);
    }
    place = own;
    return i;
  }

  template <DType from, class Rule, class Cells, class Where>
  static OCTAVO_INLINE void along(const Rule& rule, const Cells& cells, Where& place,
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
  // The rows of one cell. By one loop, unless what comes next is looked for meanwhile.
  template <DType from, bool meanwhile = true, class Rule, class Cell>
  static OCTAVO_INLINE void along_rows(const Rule& rule, const Cell& cell, const Place& place,
                                       const RowCodes& row) {
    if constexpr (meanwhile) {
      if (row.next_most != nullptr) {
        FindingPlace<from> finding(place, row.next_most);
        along<from>(rule, cell, finding, row.count);
        return finding.finish();
      }
    }
    if constexpr (meanwhile && from == DType::bfloat16 && kHasInverses && Cell::kInverted &&
                  Rule::kPut == Put::saturated) {
      if (row.next_ends != nullptr) {
        EndsPlace finding(place, row);
        along<from>(rule, cell, finding, row.count);
        return finding.finish();
      }
    }
    for (std::int64_t r = 0; r < row.rows; ++r) {
      Place own = place.row(row, r);
      along<from>(rule, cell, own, row.count);
    }
    if constexpr (!meanwhile) find_next<from>(place, row);
  }
  template <DType from>
  static __attribute__((noinline)) void find_next(const Place& place, const RowCodes& row) {
    if (row.next_most == nullptr) return;
    Base::template raise<from>(place.next, row.count, row.next_most, nullptr);
  }
};
#undef OCTAVO_INLINE
