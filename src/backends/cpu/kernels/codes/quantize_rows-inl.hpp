// SPDX-License-Identifier: Apache-2.0
// Rows of one factor, or of a factor for every run, by the steps of quantize-inl.hpp: which way
// each row goes, and the ways.
//
// Needs: kLanesWithSigns, kPiece, Lanes, Mantissas, Powers, put_vector, QuantizeSteps
// Gives: Quantize

#define OCTAVO_INLINE inline __attribute__((always_inline))

template <int lanes>
struct Quantize : QuantizeSteps<lanes> {
  using Base = QuantizeSteps<lanes>;
  using Base::kHasInverses;
  using Base::kLine;
  using Base::kStep;
  using typename Base::DType;
  using typename Base::ErrorsOf;
  using typename Base::Factors;
  using typename Base::Inverses;
  using typename Base::Loops;
  using typename Base::MeasuredCell;
  using typename Base::Place;
  using typename Base::Put;
  using typename Base::RowCodes;
  using typename Base::ToShiftedInteger;
  using typename Base::ToVectorwise;
  template <bool tame>
  using ToInteger = typename Base::template ToInteger<tame>;
  template <octavo::FloatFormat F, bool tame, bool signs>
  using ToFloat8 = typename Base::template ToFloat8<F, tame, signs>;
  template <class Divisors>
  using One = typename Base::template One<Divisors>;
  template <class Divisors, std::int64_t run>
  using Every = typename Base::template Every<Divisors, run>;
  template <class Divisors>
  using Each = typename Base::template Each<Divisors>;
  template <octavo::FloatFormat F>
  using OneByMantissa = typename Base::template OneByMantissa<F>;
  template <octavo::FloatFormat F>
  using PowersOf = typename Base::template PowersOf<F>;
  template <class Divisors, octavo::FloatFormat F>
  using OneByPower = typename Base::template OneByPower<Divisors, F>;
  template <class Divisors, octavo::FloatFormat F>
  using HalvesByPower = typename Base::template HalvesByPower<Divisors, F>;

  static constexpr std::int64_t kPiece = 512;  // elements whose factors are repeated at a time
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
      Base::template along<from>(rule, Each<Factors>{Factors(factors), azps}, piece, count);
    }
  }

  // Runs that do not begin with a line would leave none whole to be streamed.
  static OCTAVO_INLINE Place of_whole_lines(const RowCodes& row) {
    Place place(row);
    if ((reinterpret_cast<std::uintptr_t>(place.codes) & (kLine - 1)) != 0) place.streamed = false;
    return place;
  }

  // Rules with all loops have them by what their rows usually have: inverses, if there are any.
  template <class Rule, class Divisors>
  static constexpr bool all_loops() {
    constexpr bool kByInverses = kHasInverses && Rule::kInverts;
    return Rule::kLoops == Loops::all && std::is_same_v<Divisors, Inverses> == kByInverses;
  }

  // Whole steps of runs; says where they end.
  template <DType from, class Rule, class Divisors>
  static OCTAVO_INLINE std::int64_t steps_of_runs(const Rule& rule, const Divisors& divisors,
                                                  const RowCodes& row, Place& place) {
    constexpr std::int64_t kHalfStep = kStep / 2;
    constexpr std::int64_t kGroup = 128;  // the most frequent one: too short for loops of its own
    std::int64_t i = 0;
    if (row.run == 1) {
      i = Base::template whole_steps<from>(rule, Each<Divisors>{divisors, row.azps}, 0, place,
                                           row.count);
    } else if (row.run == kHalfStep) {
      i = Base::template whole_steps<from>(rule, Every<Divisors, kHalfStep>{divisors, row.azps}, 0,
                                           place, row.count);
    } else if (row.run == kGroup) {
      i = Base::template whole_steps<from>(rule, Every<Divisors, kGroup>{divisors, row.azps}, 0,
                                           place, row.count);
    } else if (row.run % kStep == 0) {
      for (std::int64_t j = 0; i < row.count; ++j, i += row.run) {
        const One<Divisors> cell(divisors, row, j);
        const std::int64_t count = row.run < row.count - i ? row.run : row.count - i;
        const std::int64_t done = Base::template whole_steps<from>(rule, cell, 0, place, count);
        if (done < count) Base::template edge<from>(rule, cell, done, place, count - done);
      }
    }
    return i;
  }

  template <DType from, class Rule, class Divisors>
  static void codes_by(const Divisors& divisors, const RowCodes& row) {
    constexpr bool kAll = all_loops<Rule, Divisors>();
    const Rule rule(row);
    if (row.factors == nullptr) {
      if constexpr (kAll || Rule::kLoops == Loops::one_or_many) {
        const One<Divisors> cell(divisors, row);
        return Base::template along_rows<from, kAll>(rule, cell, Place(row), row);
      }
      return one_by_many<from>(rule, row);
    }
    Place place = of_whole_lines(row);
    std::int64_t i = 0;
    if constexpr (kAll) i = steps_of_runs<from>(rule, divisors, row, place);
    if (i < row.count) codes_of_runs<from>(rule, row, i, place);
  }
  // One factor by the loop for many.
  template <DType from, class Rule>
  static void one_by_many(const Rule& rule, const RowCodes& row) {
    RowCodes many = row;
    many.factors = &row.factor;
    many.azps = &row.azp;
    many.run = row.count;
    const Place place(row);
    for (std::int64_t r = 0; r < row.rows; ++r) {
      codes_of_runs<from>(rule, many, 0, place.row(row, r));
    }
    Base::template find_next<from>(place, row);
  }

  // Cells of whole steps, or two to a step, by powers of two that are large enough?
  template <octavo::FloatFormat F>
  static bool powers_of_two(const RowCodes& row) {
    constexpr std::uint32_t kMantissa = 0x7FFFFFU;
    if (row.run != kStep / 2 && row.run % kStep != 0) return false;
    const std::int64_t cells = (row.count + row.run - 1) / row.run;
    std::uint32_t mantissas = 0, least = ~0U;
    for (std::int64_t j = 0; j < cells; ++j) {
      const auto bits = std::bit_cast<std::uint32_t>(row.factors[j]);
      mantissas |= bits;
      least = bits < least ? bits : least;
    }
    return (mantissas & kMantissa) == 0 && least >= PowersOf<F>::kLeast;
  }
  // Whole steps of such cells, of which less[] and bound[] are known.
  template <octavo::FloatFormat F, class Rule, class Divisors>
  static OCTAVO_INLINE void steps_by_powers(const Rule& rule, const Divisors& divisors,
                                            std::int64_t run, const std::uint32_t* less,
                                            const std::uint32_t* bound, Place& place,
                                            std::int64_t count, const PowersOf<F>& codes_of) {
    constexpr DType kFrom = DType::bfloat16;
    if (run == kStep / 2) {
      const HalvesByPower<Divisors, F> cells{{divisors, nullptr}, codes_of, less, bound};
      Base::template whole_steps<kFrom>(rule, cells, 0, place, count);
      return;
    }
    const RowCodes unshifted;
    for (std::int64_t k = 0, i = 0; i < count; ++k, i += run) {
      const OneByPower<Divisors, F> cell{
          One<Divisors>(divisors, unshifted, k), codes_of, {less[k], bound[k]}};
      Base::template whole_steps<kFrom>(rule, cell, 0, place, run < count - i ? run : count - i);
    }
  }
  template <class Rule>
  static __attribute__((noinline)) void codes_by_powers(const RowCodes& row) {
    constexpr octavo::FloatFormat kFormat = Rule::kFormat;
    constexpr std::int64_t kCells = 64;  // a piece of a row
    const Rule rule(row);
    const PowersOf<kFormat> codes_of(Rule::overflown(row));
    Place place = of_whole_lines(row);
    std::uint32_t less[kCells], bound[kCells];
    std::int64_t i = 0;
    for (std::int64_t j = 0; i + kStep <= row.count; j += kCells) {
      const std::int64_t rest = (row.count - i) / kStep * kStep;
      const std::int64_t count = rest < kCells * row.run ? rest : kCells * row.run;
      for (std::int64_t k = 0; k * row.run < count; ++k) {
        PowersOf<kFormat>::cell(std::bit_cast<std::uint32_t>(row.factors[j + k]), less[k],
                                bound[k]);
      }
      steps_by_powers<kFormat>(rule, Factors(row).behind(j), row.run, less, bound, place, count,
                               codes_of);
      i += count;
    }
    if (i < row.count) codes_of_runs<DType::bfloat16>(rule, row, i, place);
  }

  // The table of a factor that has an inverse.
  template <class Rule>
  static OCTAVO_INLINE auto table_of(const Rule& rule, const One<Inverses>& cell, float factor,
                                     std::uint32_t overflown) {
    constexpr octavo::FloatFormat kFormat = Rule::kFormat;
    constexpr std::int64_t kEntries = Mantissas<lanes>::kEntries;
    const auto bits = std::bit_cast<std::uint32_t>(factor);
    const std::uint32_t exponent = bits >> 23;
    std::uint16_t elements[kEntries];
    std::uint8_t codes[kEntries];
    for (std::uint32_t m = 0; m < kEntries; ++m) {
      elements[m] = static_cast<std::uint16_t>(exponent * kEntries + m);
    }
    for (std::int64_t m = 0; m < kEntries; m += kStep) {
      Base::template step<DType::bfloat16>(
          rule, cell, 0, reinterpret_cast<const char*>(elements + m), codes + m, false);
    }
    // The magnitude from which quotients are normal numbers, which is one itself where there is an
    // inverse.
    const std::uint32_t least = bits + (static_cast<std::uint32_t>(1 - kFormat.bias) << 23);
    return
        typename Base::template Table<kFormat>(codes, exponent, overflown, (least + 0xFFFFU) >> 16);
  }
  template <class Rule>
  static __attribute__((noinline)) void codes_by_mantissas(const RowCodes& row) {
    constexpr octavo::FloatFormat kFormat = Rule::kFormat;
    const Rule rule(row);
    const One<Inverses> cell(Inverses(row), row);
    const auto table = table_of(rule, cell, row.factor, Rule::overflown(row));
    Base::template along_rows<DType::bfloat16>(rule, OneByMantissa<kFormat>{cell, table},
                                               Place(row), row);
  }

  template <DType from, class Rule>
  static void codes_as(const RowCodes& row) {
    if constexpr (from == DType::bfloat16 && requires { Rule::kFormat; } &&
                  Rule::kLoops == Loops::all) {
      if constexpr (Mantissas<lanes>::kServes && Rule::kPut == Put::signs && Rule::kInverts) {
        constexpr std::int64_t kLeast = 512;  // elements that a table pays for
        if (row.inverses != nullptr && row.factors == nullptr && row.rows * row.count >= kLeast) {
          return codes_by_mantissas<Rule>(row);
        }
      }
      if constexpr (Powers<lanes>::template serves<Rule::kFormat>()) {
        if (row.factors != nullptr && powers_of_two<Rule::kFormat>(row)) {
          return codes_by_powers<Rule>(row);
        }
      }
    }
    if constexpr (all_loops<Rule, Inverses>()) {
      if (row.inverses != nullptr) return codes_by<from, Rule>(Inverses(row), row);
    }
    return codes_by<from, Rule>(Factors(row), row);
  }

  // Signs stay apart where that saves instructions: in vectors that have the means.
  template <bool tame, octavo::FloatFormat F>
  using Float8Rule = ToFloat8<F, tame, tame && lanes == kLanesWithSigns && !F.unsigned_zero>;

  template <DType from, bool tame>
  static void codes_from(const RowCodes& row) {
    static constexpr auto kFloat8 = octavo::by_float8<void (*)(const RowCodes&)>(
        []<octavo::FloatFormat F>() { return &codes_as<from, Float8Rule<tame, F>>; });
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
    Place place(row);
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
        Base::template whole_steps<from>(rule, MeasuredCell(cell, row, piece), 0, place, count);
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
        return measured_as<from, Float8Rule<true, kFormat>>(row);
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
