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
// Included after lanes-inl.hpp, errors-inl.hpp, lane_codes-inl.hpp and one of mantissas_*-inl.hpp
// inside an instruction-set region; every including file gets its own copy.
//
// The file that includes this defines the changes of width that widths-inl.hpp has.

#define OCTAVO_INLINE inline __attribute__((always_inline))

template <int lanes>
struct Quantize : LaneCodes<lanes> {
  using Base = LaneCodes<lanes>;
  using Base::floats;
  using Base::kHasInverses;
  using Base::words;
  using typename Base::DType;
  using typename Base::Floats;
  using typename Base::Ints;
  using typename Base::Inverse;
  using typename Base::Put;
  using typename Base::ToShiftedInteger;
  using typename Base::ToVectorwise;
  using typename Base::Words;
  template <bool tame>
  using ToInteger = typename Base::template ToInteger<tame>;
  template <octavo::FloatFormat F, bool tame, bool signs>
  using ToFloat8 = typename Base::template ToFloat8<F, tame, signs>;
  using RowCodes = octavo::cpu::RowCodes;
  using ErrorsOf = Errors<lanes>;

  static constexpr std::int64_t kStep = 4 * lanes;  // elements of one turn of a loop
  static constexpr std::int64_t kLine = 64;         // bytes that a streaming store has to fill
  static constexpr std::int64_t kPiece = 512;       // elements whose factors are repeated at a time

  // Factors as they are given, and as inverses: the same for a vector, or one for each lane.
  struct Factors {
    const float* at;
    explicit OCTAVO_INLINE Factors(const RowCodes& row)
        : at(row.factors == nullptr ? &row.factor : row.factors) {}
    explicit OCTAVO_INLINE Factors(const float* given) : at(given) {}
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
    // The same for two neighbouring vectors, from an even one on?
    static constexpr bool kAlike = true;
    static constexpr bool kOneAStep = true;
    static constexpr bool kInverted = std::is_same_v<Divisors, Inverses>;
    static constexpr bool kByMantissa = false;
    decltype(std::declval<Divisors>().same(0)) factor;
    std::int32_t azp;
    OCTAVO_INLINE One(const Divisors& divisors, const RowCodes& row)
        : factor(divisors.same(0)), azp(row.azp) {}
    OCTAVO_INLINE One(const Divisors& divisors, const RowCodes& row, std::int64_t j)
        : factor(divisors.same(j)), azp(row.azps == nullptr ? 0 : row.azps[j]) {}
    OCTAVO_INLINE auto factors(std::int64_t /*i*/) const { return factor; }
    OCTAVO_INLINE Ints azps(std::int64_t /*i*/) const { return Ints{} + azp; }
    OCTAVO_INLINE Words halves(std::int64_t /*i*/) const { return in_halves(azp); }
  };
  template <class Divisors, std::int64_t run>
  struct Every {
    static constexpr bool kAlike = run % (2 * lanes) == 0;
    static constexpr bool kOneAStep = run % kStep == 0;
    static constexpr bool kInverted = std::is_same_v<Divisors, Inverses>;
    static constexpr bool kByMantissa = false;
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
    static constexpr bool kAlike = false;
    static constexpr bool kOneAStep = false;
    static constexpr bool kInverted = std::is_same_v<Divisors, Inverses>;
    static constexpr bool kByMantissa = false;
    Divisors divisors;
    const std::int32_t* azp;
    OCTAVO_INLINE auto factors(std::int64_t i) const { return divisors.each(i); }
    OCTAVO_INLINE Ints azps(std::int64_t i) const {
      return azp == nullptr ? Ints{} : vector_at<Ints>(azp + i);
    }
  };

  // Elements of 2 bytes whose codes are those of their mantissas (mantissas_avx512-inl.hpp), all of
  // one scale, or each 32 of a power of two.
  template <octavo::FloatFormat F>
  using Table = typename Mantissas<lanes>::template Table<F>;

  // What a table made of a factor with an exponent must know of another one. Its bound is the
  // magnitude from which quotients are normal numbers, which is one itself where there is an
  // inverse, twice and less 1.
  template <octavo::FloatFormat F>
  static OCTAVO_INLINE typename Table<F>::Cell mantissa_cell(float factor, std::uint32_t exponent) {
    const auto bits = std::bit_cast<std::uint32_t>(factor);
    const std::uint32_t least = bits + (static_cast<std::uint32_t>(1 - F.bias) << 23);
    const std::uint32_t more = (exponent - (bits >> 23)) << F.mantissa_bits;
    return {(2 * ((least + 0xFFFFU) >> 16) - 1) * 0x10001U, (more & 0xFFU) * 0x1010101U};
  }

  template <octavo::FloatFormat F>
  struct OneByMantissa : One<Inverses> {
    static constexpr bool kByMantissa = true;
    const Table<F>& table;
    typename Table<F>::Cell own;
    OCTAVO_INLINE bool put(std::int64_t /*i*/, const char* source, std::uint8_t* codes,
                           bool streamed) const {
      return table.put(source, own, own, codes, streamed);
    }
  };
  template <octavo::FloatFormat F>
  struct HalvesByMantissa : Every<Inverses, kStep / 2> {
    static constexpr bool kByMantissa = true;
    const Table<F>& table;
    const std::uint32_t* bounds;
    const std::uint32_t* binades;
    OCTAVO_INLINE bool put(std::int64_t i, const char* source, std::uint8_t* codes,
                           bool streamed) const {
      const std::int64_t j = i / (kStep / 2);
      return table.put(source, {bounds[j], binades[j]}, {bounds[j + 1], binades[j + 1]}, codes,
                       streamed);
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
    // Beside a step, and beside fewer elements.
    template <DType from>
    OCTAVO_INLINE void look_ahead() {
      for (std::int64_t line = 0; line < kStep * octavo::element_bytes(from); line += kLine) {
        __builtin_prefetch(next + line);
      }
    }
    template <DType from>
    OCTAVO_INLINE void look_ahead(std::int64_t /*count*/) {}
  };
  // What comes next is read instead of fetched: for its largest magnitude.
  template <DType of>
  struct FindingPlace : Place {
    using Raw = typename Base::template RawOf<of>;
    std::int32_t& most;
    typename Raw::Vector even{}, odd{};
    OCTAVO_INLINE FindingPlace(const Place& place, std::int32_t& found)
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
      Base::template raise<from>(this->next, count, &most, nullptr);
    }
    OCTAVO_INLINE void finish() {
      const typename Raw::Vector largest = Base::larger(even, odd);
      Base::template raise<of>(reinterpret_cast<const char*>(&largest), Raw::kLanes, &most,
                               nullptr);
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
    if constexpr (Cells::kByMantissa) {
      if (cells.put(i, source, codes, streamed)) return;
    }
    // Even and odd elements of pairs take fewer steps than neighbours.
    constexpr bool kPairs = from == DType::bfloat16 && Cells::kAlike;
    if constexpr (kPairs && Rule::kPut == Put::signs && !std::is_same_v<Cells, MeasuredCell>) {
      const Words front = pairs_at(source);
      const Words back = pairs_at(source + 2 * kBytes);
      const auto first = cells.factors(i);
      const auto second = Cells::kOneAStep ? first : cells.factors(i + 2 * lanes);
      put_with_signs(rule.magnitude(even_magnitudes(front), first),
                     rule.magnitude(odd_magnitudes(front), first),
                     rule.magnitude(even_magnitudes(back), second),
                     rule.magnitude(odd_magnitudes(back), second), kEvenAndOdd, source, codes,
                     streamed);
    } else if constexpr (kPairs && Rule::kPut == Put::saturated && Cells::kInverted) {
      const Words front = pairs_at(source);
      const Words back = pairs_at(source + 2 * kBytes);
      const auto first = cells.factors(i);
      const auto second = Cells::kOneAStep ? first : cells.factors(i + 2 * lanes);
      const Words first_azp = cells.halves(i);
      const Words second_azp = Cells::kOneAStep ? first_azp : cells.halves(i + 2 * lanes);
      put_lower_halves(rule.lower_half(floats(front << 16), first),
                       rule.lower_half(floats(front & 0xFFFF0000U), first),
                       rule.lower_half(floats(back << 16), second),
                       rule.lower_half(floats(back & 0xFFFF0000U), second), first_azp, second_azp,
                       codes, streamed, rule.to_signed);
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

  // As many steps as there are; says where they end.
  template <DType from, class Rule, class Cells, class Where>
  static OCTAVO_INLINE std::int64_t whole_steps(const Rule& rule, const Cells& cells,
                                                std::int64_t i, Where& place, std::int64_t count) {
    constexpr std::int64_t kBytes = octavo::element_bytes(from);
    for (; i + kStep <= count; i += kStep) {
      place.template look_ahead<from>();
      step<from>(rule, cells, i, place.source, place.codes, place.streamed);
      place.advance(kStep, kBytes);
    }
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
  // The rows of one cell.
  template <DType from, class Rule, class Cell>
  static OCTAVO_INLINE void along_rows(const Rule& rule, const Cell& cell, const Place& place,
                                       const RowCodes& row) {
    if (row.next_most != nullptr) {
      FindingPlace<from> finding(place, *row.next_most);
      along<from>(rule, cell, finding, row.count);
      return finding.finish();
    }
    for (std::int64_t r = 0; r < row.rows; ++r) {
      Place own{place.source + r * row.source_step, place.next + r * row.source_step,
                place.codes + r * row.code_step, place.streamed};
      along<from>(rule, cell, own, row.count);
    }
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
      for (std::int64_t k = at; k < end; k += lanes) put_vector(value, out + k);
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
      Place piece = place;
      along<from>(rule, Each<Factors>{Factors(factors), azps}, piece, count);
    }
  }

  template <DType from, class Rule, class Divisors>
  static void codes_by(const Divisors& divisors, const RowCodes& row) {
    constexpr std::int64_t kHalfStep = kStep / 2;
    constexpr std::int64_t kGroup = 128;  // the most frequent one: too short for loops of its own
    const Rule rule(row);
    const auto* source = static_cast<const char*>(row.source);
    Place place{source, row.next == nullptr ? source : static_cast<const char*>(row.next),
                static_cast<std::uint8_t*>(row.codes), row.streamed};
    if (row.factors == nullptr) {
      return along_rows<from>(rule, One<Divisors>(divisors, row), place, row);
    }
    // Runs that do not begin with a line would leave none whole.
    if ((reinterpret_cast<std::uintptr_t>(place.codes) & (kLine - 1)) != 0) place.streamed = false;
    std::int64_t i = 0;
    if (row.run == 1) {
      i = whole_steps<from>(rule, Each<Divisors>{divisors, row.azps}, 0, place, row.count);
    } else if (row.run == kHalfStep) {
      i = whole_steps<from>(rule, Every<Divisors, kHalfStep>{divisors, row.azps}, 0, place,
                            row.count);
    } else if (row.run == kGroup) {
      i = whole_steps<from>(rule, Every<Divisors, kGroup>{divisors, row.azps}, 0, place, row.count);
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

  // Are there cells of whole steps, or two to a step, by powers of two?
  static bool powers_of_two(const RowCodes& row) {
    constexpr std::uint32_t kMantissa = 0x7FFFFFU;
    if (row.run != kStep / 2 && row.run % kStep != 0) return false;
    std::uint32_t mantissas = 0;
    const std::int64_t cells = (row.count + row.run - 1) / row.run;
    for (std::int64_t j = 0; j < cells; ++j) {
      mantissas |= std::bit_cast<std::uint32_t>(row.factors[j]);
    }
    return (mantissas & kMantissa) == 0;
  }
  template <class Rule>
  static __attribute__((noinline)) void codes_by_mantissas(const RowCodes& row) {
    constexpr DType kFrom = DType::bfloat16;
    constexpr octavo::FloatFormat kFormat = Rule::kFormat;
    constexpr std::int64_t kEntries = Mantissas<lanes>::kEntries;
    const Rule rule(row);
    const Inverses divisors(row);
    const float factor = row.factors == nullptr ? row.factor : row.factors[0];
    const std::uint32_t exponent = std::bit_cast<std::uint32_t>(factor) >> 23;
    std::uint16_t elements[kEntries];
    std::uint8_t codes[kEntries];
    for (std::uint32_t m = 0; m < kEntries; ++m) {
      elements[m] = static_cast<std::uint16_t>(exponent * kEntries + m);
    }
    const One<Inverses> first(divisors, row);
    for (std::int64_t m = 0; m < kEntries; m += kStep) {
      step<kFrom>(rule, first, 0, reinterpret_cast<const char*>(elements + m), codes + m, false);
    }
    const Table<kFormat> table(codes, exponent, Rule::overflown(row));
    const auto* source = static_cast<const char*>(row.source);
    Place place{source, row.next == nullptr ? source : static_cast<const char*>(row.next),
                static_cast<std::uint8_t*>(row.codes), row.streamed};
    if (row.factors == nullptr) {
      const OneByMantissa<kFormat> cell{first, table, mantissa_cell<kFormat>(factor, exponent)};
      return along_rows<kFrom>(rule, cell, place, row);
    }
    if ((reinterpret_cast<std::uintptr_t>(place.codes) & (kLine - 1)) != 0) place.streamed = false;
    std::int64_t i = 0;
    if (row.run == kStep / 2) {
      constexpr std::int64_t kCells = 64;  // a piece of a row
      std::uint32_t bounds[kCells], binades[kCells];
      while (i + kStep <= row.count) {
        const std::int64_t from = i / row.run;
        const std::int64_t rest = (row.count - i) / kStep * kStep;
        const std::int64_t count = rest < kCells * row.run ? rest : kCells * row.run;
        for (std::int64_t j = 0; j < count / (kStep / 2); ++j) {
          const auto own = mantissa_cell<kFormat>(row.factors[from + j], exponent);
          bounds[j] = own.bound;
          binades[j] = own.binades;
        }
        const HalvesByMantissa<kFormat> cells{
            {divisors.behind(from), nullptr}, table, bounds, binades};
        i += whole_steps<kFrom>(rule, cells, 0, place, count);
      }
    } else {
      for (std::int64_t j = 0; i < row.count; ++j, i += row.run) {
        const OneByMantissa<kFormat> cell{One<Inverses>(divisors, row, j), table,
                                          mantissa_cell<kFormat>(row.factors[j], exponent)};
        const std::int64_t count = row.run < row.count - i ? row.run : row.count - i;
        const std::int64_t done = whole_steps<kFrom>(rule, cell, 0, place, count);
        if (done < count) edge<kFrom>(rule, cell, done, place, count - done);
      }
    }
    if (i < row.count) codes_of_runs<kFrom>(rule, row, i, place);
  }

  template <DType from, class Rule>
  static void codes_as(const RowCodes& row) {
    if constexpr (Mantissas<lanes>::kServes && from == DType::bfloat16 &&
                  Rule::kPut == Put::signs) {
      constexpr std::int64_t kLeast = 512;  // elements that a table pays for
      if (row.inverses != nullptr && row.rows * row.count >= kLeast &&
          (row.factors == nullptr || powers_of_two(row))) {
        return codes_by_mantissas<Rule>(row);
      }
    }
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
