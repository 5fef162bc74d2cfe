// SPDX-License-Identifier: Apache-2.0
// Cells of neighbours from elements to scales and codes, while they are in the first-level cache:
//
//   groups   | 0 | 1 | ... | lanes - 1 | lanes | ...    a vector of cells at a time: what each
//                                                       reaches, scales in lanes, codes
//   rows     | 0                                   |    a cell at a time: its codes, and beside
//            | 1                                   |    them what the next one reaches; with zero
//                                                       points, too
//   blocks   | 0 | 1 | ...       whole rows of several cells, which stay in the second-level cache:
//            | 0 | 1 | ...       of narrow pieces memory would open a page for each. Beside their
//                                codes what the cells below reach: memory is read all the time
//
// Scales are those of core/scales/scale_rule.hpp, in lanes. Whoever calls does the cells that this
// leaves: those that hold infinities or NaN, and scales at the ends of float32's range.
//
// Needs: any_greater, Lanes, Mantissas, Powers, put_vector, Quantize, Ties, vector_at
// Gives: ScaledCells

#define OCTAVO_INLINE inline __attribute__((always_inline))

template <int lanes>
struct ScaledCells : Quantize<lanes> {
  using Base = Quantize<lanes>;
  using Base::floats;
  using Base::ints;
  using Base::kHasInverses;
  using Base::kStep;
  using Base::larger;
  using Base::smaller;
  using Base::words;
  using typename Base::DType;
  using typename Base::Floats;
  using typename Base::Ints;
  using typename Base::Words;
  using RowCodes = octavo::cpu::RowCodes;
  using CellRows = octavo::cpu::CellRows;
  using Rounding = octavo::ScaleRounding;

  // Cells of so many elements are done one by one.
  static constexpr std::int64_t kLongRun = 512;
  static constexpr std::int64_t kMostCells = 64;  // that factors are kept of
  static_assert(octavo::cpu::kMostBlocks <= kMostCells && kMostCells % lanes == 0);
  static constexpr std::int64_t kTableRows = 16;  // that a table of mantissas pays for
  static constexpr std::int64_t kGroup = 128;     // elements that one of ties pays for

  static OCTAVO_INLINE bool any_from(Ints bits, std::uint32_t least) {
    return any_greater(bits, Ints{} + static_cast<std::int32_t>(least - 1));
  }

  // Of magnitudes as bits: symmetric_scale of core/scales/scale_rule.hpp.
  template <Rounding rounding>
  static OCTAVO_INLINE Floats scale_of(const octavo::ScaleRule& rule, Floats reached) {
    constexpr std::uint32_t kExponent = 0x7F800000U;
    const Floats most = smaller(Floats{} + rule.bound, reached);
    Words scale;
    if constexpr (rounding == Rounding::mx_floor) {
      const Words biased = (words(most) >> 23) - static_cast<std::uint32_t>(rule.exponent);
      const Ints least = larger(ints(biased), Ints{} + 1);
      scale = reinterpret_cast<const Words&>(least) << 23;
    } else {
      const Floats quotient = larger(most / rule.aim, Floats{} + rule.least);
      scale = words(quotient);
      if constexpr (rounding == Rounding::power_of_two) scale = (scale + 0x007FFFFFU) & kExponent;
    }
    return floats(Base::choose(most == 0.0F, words(Floats{} + rule.of_zero), scale));
  }

  static OCTAVO_INLINE Floats scales_of(const octavo::ScaleRule& rule, Ints most) {
    const Floats reached = floats(reinterpret_cast<const Words&>(most));
    if (rule.rounding == Rounding::mx_floor) return scale_of<Rounding::mx_floor>(rule, reached);
    if (rule.rounding == Rounding::none) return scale_of<Rounding::none>(rule, reached);
    return scale_of<Rounding::power_of_two>(rule, reached);
  }
  // Numbers, and quotients that RowCodes calls tame, by scales from `least` on?
  static OCTAVO_INLINE bool are_usual(Ints most, Ints scale, Ints quotient, std::uint32_t least) {
    constexpr std::uint32_t kTame = (20U + 127U) << 23;
    return !(any_from(most, octavo::cpu::kInfinityBits) ||
             any_from(scale, octavo::cpu::kInfinityBits) || any_from(quotient, kTame) ||
             any_greater(Ints{} + static_cast<std::int32_t>(least), scale));
  }

  // The first `count` lanes.
  template <class Vector>
  static OCTAVO_INLINE void put_some(Vector x, std::int64_t count, char* place) {
    if (count >= lanes) return put_vector(x, place);
    std::memcpy(place, &x, static_cast<std::size_t>(count) * sizeof(x[0]));
  }
  static OCTAVO_INLINE void store(const CellRows& q, Floats scales, std::int64_t count,
                                  std::int64_t row, std::int64_t j) {
    char* place = static_cast<char*>(q.scales) + row * q.scale_step;
    if (!q.exponents) return put_some(scales, count, place + j * std::int64_t{sizeof(float)});
    put_some(__builtin_convertvector(words(scales) >> 23, Lanes<std::uint8_t, lanes>), count,
             place + j);
  }

  // What `count` elements in cells of `run` reach: at most `lanes` cells.
  template <DType from>
  static OCTAVO_INLINE Ints reached(const char* source, std::int64_t count, std::int64_t run) {
    constexpr std::int64_t kLanes = Base::template RawOf<from>::kLanes;
    if (count == lanes * run && run % kLanes == 0) {
      return Base::template magnitudes_of_cells<from>(source, run / kLanes);
    }
    alignas(64) std::int32_t most[lanes] = {};
    for (std::int64_t i = 0, j = 0; i < count; i += run, ++j) {
      Base::template raise<from>(source + i * octavo::element_bytes(from),
                                 run < count - i ? run : count - i, most + j, nullptr);
    }
    return vector_at<Ints>(most);
  }

  // What codes are made with, of up to kMostCells cells: factors in memory, and inverses where they
  // may serve.
  class General {
   public:
    explicit OCTAVO_INLINE General(const CellRows& q)
        : tie_bits_(q.rule.azp ? octavo::cpu::kIntegerTieBits : octavo::cpu::tie_bits(q.row.to)) {}
    bool inverted() const { return inverted_; }
    // Takes a vector of cells from cell j on, a multiple of lanes, of which the first `cells` will
    // be asked for. False: of one of these cells that are not.
    OCTAVO_INLINE bool take(std::int64_t j, std::int64_t /*cells*/, Ints most, Floats scale) {
      constexpr std::uint32_t kNear = (9U + 127U) << 23;  // of RowCodes::inverses
      const Floats reached = floats(reinterpret_cast<const Words&>(most));
      const Ints quotient = ints(words(reached / scale));
      if (!are_usual(most, ints(words(scale)), quotient, 0)) return false;
      put_vector(scale, scale_ + j);
      if constexpr (kHasInverses) {
        Floats inverse, rest;
        Ints doubts{};
        Base::invert(scale, tie_bits_, inverse, rest, doubts);
        put_vector(inverse, inverse_ + j);
        put_vector(rest, rest_ + j);
        const bool inverted = !any_from(quotient, kNear) && !any_greater(-doubts, Ints{});
        inverted_ = inverted && (j == 0 || inverted_);
      }
      return true;
    }
    // Ready for rows of so many cells.
    OCTAVO_INLINE void prepare(std::int64_t /*cells*/) {}
    template <DType from>
    OCTAVO_INLINE void put(RowCodes& part, std::int64_t first) const {
      part.factors = scale_ + first;
      part.inverses = inverted_ ? inverse_ + first : nullptr;
      part.inverse_rests = rest_ + first;
      Base::template codes_from<from, true>(part);
    }
    template <DType from>
    OCTAVO_INLINE void put_row(RowCodes& part) const {
      part.factor = scale_[0];
      part.inverses = inverted_ ? inverse_ : nullptr;
      part.inverse_rests = rest_;
      Base::template codes_from<from, true>(part);
    }

   protected:
    float scale_[kMostCells], inverse_[kMostCells], rest_[kMostCells];
    int tie_bits_;
    bool inverted_ = false;
  };
  // Of bfloat16, by a table for each cell: of so many rows that tables pay.
  template <octavo::FloatFormat F>
  class ByTables : public General {
   public:
    using Rule = typename Base::template Float8Rule<true, F>;
    explicit OCTAVO_INLINE ByTables(const CellRows& q)
        : General(q),
          rule_(q.row),
          overflown_(Rule::overflown(q.row)),
          first_level_(q.first_level) {}
    OCTAVO_INLINE void prepare(std::int64_t cells) {
      for (std::int64_t j = 0; this->inverted_ && j < cells; ++j) {
        tables_[j] = Base::table_of(rule_, cell(j), this->scale_[j], overflown_);
      }
    }
    template <DType from>
    OCTAVO_INLINE void put(RowCodes& part, std::int64_t first) const {
      using FarPlace = typename Base::FarPlace;
      if (!this->inverted_) return General::template put<from>(part, first);
      if (first_level_) return put_at<from>(Base::of_whole_lines(part), part, first);
      put_at<from>(FarPlace(Base::of_whole_lines(part)), part, first);
    }

   private:
    using Cell = typename Base::template One<typename Base::Inverses>;
    template <DType from, class Where>
    OCTAVO_INLINE void put_at(Where place, const RowCodes& part, std::int64_t first) const {
      std::int64_t i = 0;
      for (std::int64_t j = first; i < part.count; ++j, i += part.run) {
        const typename Base::template OneByMantissa<F> one{cell(j), tables_[j]};
        const std::int64_t count = part.run < part.count - i ? part.run : part.count - i;
        const std::int64_t done = Base::template whole_steps<from>(rule_, one, 0, place, count);
        if (done < count) Base::template edge<from>(rule_, one, done, place, count - done);
      }
    }
    OCTAVO_INLINE Cell cell(std::int64_t j) const {
      return Cell(typename Base::Inverses(this->inverse_, this->rest_), RowCodes{}, j);
    }
    typename Base::template Table<F> tables_[kMostCells];
    Rule rule_;
    std::uint32_t overflown_;
    bool first_level_;
  };
  // Of bfloat16, by ties: of cells long enough.
  template <octavo::FloatFormat F>
  class ByTies : public General {
   public:
    using Rule = typename Base::template Float8Rule<true, F>;
    using Table = typename Base::template TiesOf<F>;
    explicit OCTAVO_INLINE ByTies(const CellRows& q)
        : General(q), rule_(q.row), last_(static_cast<std::uint8_t>(Rule::overflown(q.row))) {}
    OCTAVO_INLINE bool take(std::int64_t j, std::int64_t cells, Ints most, Floats scale) {
      if (!General::take(j, cells, most, scale)) return false;
      const Ints least = Ints{} + static_cast<std::int32_t>(Table::kLeast);
      this->inverted_ = this->inverted_ && !any_greater(least, ints(words(scale)));
      if (!this->inverted_) return true;
      typename Ties<lanes>::Scales scales;
      scales.template take<F>(
          scale, {vector_at<Floats>(this->inverse_ + j), vector_at<Floats>(this->rest_ + j)});
      for (std::int64_t k = 0; k < lanes && k < cells; ++k) tables_[j + k] = Table(scales, k);
      return true;
    }
    template <DType from>
    OCTAVO_INLINE void put(RowCodes& part, std::int64_t first) const {
      if (!this->inverted_) return General::template put<from>(part, first);
      if (part.run == kGroup && part.count % kGroup == 0) {
        return put_runs<from, kGroup>(part, first);
      }
      put_runs<from, 0>(part, first);
    }

   private:
    // Of a length that is known here, or of any.
    template <DType from, std::int64_t known>
    OCTAVO_INLINE void put_runs(const RowCodes& part, std::int64_t first) const {
      const std::int64_t run = known == 0 ? part.run : known;
      typename Base::Place place = Base::of_whole_lines(part);
      const typename Base::Inverses inverses(this->inverse_, this->rest_);
      for (std::int64_t j = first, i = 0; i < part.count; ++j, i += run) {
        const typename Base::template OneByTies<F> cell{inverses.behind(j), tables_[j], last_};
        const std::int64_t count = known > 0 || run < part.count - i ? run : part.count - i;
        const std::int64_t done = Base::template whole_steps<from>(rule_, cell, 0, place, count);
        if (done < count) Base::template edge<from>(rule_, cell, done, place, count - done);
      }
    }

    Table tables_[kMostCells];
    Rule rule_;
    std::uint8_t last_;
  };
  // Of bfloat16, by scales that are powers of two.
  template <octavo::FloatFormat F>
  class ByPowers {
   public:
    using Rule = typename Base::template Float8Rule<true, F>;
    using Of = typename Base::template PowersOf<F>;
    explicit OCTAVO_INLINE ByPowers(const CellRows& q)
        : rule_(q.row), codes_of_(Rule::overflown(q.row)) {}
    OCTAVO_INLINE bool take(std::int64_t j, std::int64_t /*cells*/, Ints most, Floats scale) {
      const Words bits = words(scale);
      const Ints quotient = most - ints(bits) + (127 << 23);
      if (!are_usual(most, ints(bits), quotient, Of::kLeast)) return false;
      Words less, bound;
      Of::cell(bits, less, bound);
      put_vector(scale, scale_ + j);
      put_vector(less, less_ + j);
      put_vector(bound, bound_ + j);
      return true;
    }
    OCTAVO_INLINE void prepare(std::int64_t /*cells*/) {}
    template <DType from>
    OCTAVO_INLINE void put(RowCodes& part, std::int64_t first) const {
      using Place = typename Base::Place;
      const std::int64_t whole = part.count / kStep * kStep;
      Place place = Base::of_whole_lines(part);
      Base::template steps_by_powers<F>(rule_, typename Base::Factors(scale_ + first), part.run,
                                        less_ + first, bound_ + first, place, whole, codes_of_);
      if (whole == part.count) return;
      part.factors = scale_ + first;
      Base::template codes_of_runs<from>(rule_, part, whole, place);
    }

   private:
    float scale_[kMostCells];
    std::uint32_t less_[kMostCells], bound_[kMostCells];
    Rule rule_;
    Of codes_of_;
  };

  // A row of codes at a time, whose quotients General and ByPowers have looked at.
  static OCTAVO_INLINE RowCodes one_row(const CellRows& q) {
    RowCodes row = q.row;
    row.rows = 1;
    row.tame = true;
    return row;
  }

  // Rows of whole cells without gaps are one row, so that a vector holds cells of several.
  static CellRows interleaved(const CellRows& given) {
    CellRows q = given;
    const std::int64_t across = (q.row.count + q.row.run - 1) / q.row.run;
    const std::int64_t scale_bytes = q.exponents ? 1 : std::int64_t{sizeof(float)};
    if (q.row.count % q.row.run == 0 && q.row.code_step == q.row.count &&
        q.row.source_step == q.row.count * octavo::element_bytes(q.row.from) &&
        q.scale_step == across * scale_bytes) {
      q.row.count *= q.row.rows;
      q.row.rows = 1;
    }
    return q;
  }

  template <DType from, class Codes>
  static std::int64_t groups(const CellRows& given) {
    const CellRows q = interleaved(given);
    constexpr std::int64_t kBytes = octavo::element_bytes(from);
    constexpr std::int64_t kTurnsAhead = from == DType::float32 ? 2 : 1;  // that are fetched
    const std::int64_t run = q.row.run;
    const std::int64_t across = (q.row.count + run - 1) / run;
    Codes made(q);
    RowCodes part = one_row(q);
    for (std::int64_t r = 0; r < q.row.rows; ++r) {
      const char* source = static_cast<const char*>(q.row.source) + r * q.row.source_step;
      auto* codes = static_cast<std::uint8_t*>(q.row.codes) + r * q.row.code_step;
      for (std::int64_t j = 0; j < across; j += lanes) {
        const std::int64_t i = j * run;
        part.count = lanes * run < q.row.count - i ? lanes * run : q.row.count - i;
        part.source = source + i * kBytes;
        part.codes = codes + i;
        part.next = source + (i + kTurnsAhead * lanes * run) * kBytes;
        const Ints most = reached<from>(source + i * kBytes, part.count, run);
        const Floats scale = scales_of(q.rule, most);
        if (!made.take(0, across - j, most, scale)) return r * across + j;
        store(q, scale, across - j, r, j);
        made.template put<from>(part, 0);
      }
    }
    return q.row.rows * across;
  }

  // What the cells of a piece of a row reach, in vectors, whole ones only, with one more row; of
  // `again`, unless null, as much is fetched.
  template <DType from>
  static OCTAVO_INLINE void reach(const char* source, std::int64_t count, std::int64_t run,
                                  const char* again,
                                  typename Base::template RawOf<from>::Vector* most) {
    using Of = typename Base::template RawOf<from>;
    constexpr std::int64_t kBytes = octavo::element_bytes(from);
    const std::int64_t bytes = count * kBytes;
    for (std::int64_t i = 0; i < bytes; ++most) {
      const std::int64_t end = run * kBytes < bytes - i ? i + run * kBytes : bytes;
      for (std::int64_t line = i; again != nullptr && line < end; line += Base::kLine) {
        Base::template fetch<Base::kLine>(again + line);
      }
      auto own = *most;
      for (; i < end; i += Of::kBytes) own = larger(own, Of::magnitudes(source + i));
      *most = own;
    }
  }
  // While codes of a block's row are made, from a cache, a row of the blocks below is read, from
  // memory, and one behind it fetched: piece by piece, so that memory is never left alone for long.
  template <DType from, class Codes>
  static std::int64_t blocks(const CellRows& q) {
    constexpr std::int64_t kBytes = octavo::element_bytes(from);
    constexpr std::int64_t kBytesAhead = std::int64_t{16} << 10;
    // Bytes of a piece: of 16 bits whole rows are as good, and need fewer calls.
    constexpr std::int64_t kPieceBytes = std::int64_t{kBytes == 4 ? 2 : 64} << 10;
    // Blocks from which a cache of the second level keeps fewer than two: their rows are fetched
    // from the third one before codes are made of them.
    constexpr std::int64_t kLeftBehind = std::int64_t{1} << 20;
    using Vector = typename Base::template RawOf<from>::Vector;
    const std::int64_t run = q.row.run, row_bytes = q.row.count * kBytes;
    const std::int64_t across = (q.row.count + run - 1) / run;
    const std::int64_t together = kPieceBytes <= run * kBytes ? 1 : kPieceBytes / (run * kBytes);
    const std::int64_t ahead = kBytesAhead / row_bytes + 1;
    const std::int64_t last = q.row.rows - 1;
    const bool fetched_again = q.height * row_bytes > kLeftBehind;
    const auto row_at = [&](std::int64_t r) {
      return static_cast<const char*>(q.row.source) + (r < last ? r : last) * q.row.source_step;
    };
    Codes made(q);
    RowCodes part = one_row(q);
    Vector most[octavo::cpu::kMostBlocks] = {};
    for (std::int64_t r = 0; r < q.height && r <= last; ++r) {
      reach<from>(row_at(r), q.row.count, run, nullptr, most);
    }
    for (std::int64_t r = 0, cell_row = 0; r <= last; ++cell_row) {
      for (std::int64_t j = 0; j < across; j += lanes) {
        const Ints all =
            Base::template magnitudes_of_cells<from>(reinterpret_cast<const char*>(most + j), 1);
        const Floats scale = scales_of(q.rule, all);
        if (!made.take(j, across - j, all, scale)) return cell_row * across;
        store(q, scale, across - j, cell_row, j);
      }
      made.prepare(across);
      Vector below[octavo::cpu::kMostBlocks] = {};
      const std::int64_t end = q.height <= last - r ? r + q.height : last + 1;
      for (; r < end; ++r) {
        auto* codes = static_cast<std::uint8_t*>(q.row.codes) + r * q.row.code_step;
        for (std::int64_t j = 0; j < across; j += together) {
          const std::int64_t i = j * run, rest = q.row.count - i;
          part.count = together * run < rest ? together * run : rest;
          if (r + q.height <= last) {
            const char* again = fetched_again ? row_at(r + 1) + i * kBytes : nullptr;
            reach<from>(row_at(r + q.height) + i * kBytes, part.count, run, again, below + j);
          }
          part.source = row_at(r) + i * kBytes;
          part.next = row_at(r + q.height + ahead) + i * kBytes;
          part.codes = codes + i;
          made.template put<from>(part, j);
        }
      }
      std::memcpy(most, below, sizeof(most));
    }
    return (q.row.rows + q.height - 1) / q.height * across;
  }

  template <DType from>
  static std::int64_t rows(const CellRows& q) {
    constexpr bool kFindsAhead = kHasInverses && from == DType::bfloat16;
    General made(q);
    RowCodes part = one_row(q);
    std::int32_t most = 0;
    const auto* source = static_cast<const char*>(q.row.source);
    Base::template raise<from>(source, q.row.count, &most, nullptr);
    for (std::int64_t r = 0; r < q.row.rows; ++r) {
      const Floats scale = scales_of(q.rule, Ints{} + most);
      if (!made.take(0, 1, Ints{} + most, scale)) return r;
      store(q, scale, 1, r, 0);
      const bool more = r + 1 < q.row.rows;
      most = 0;
      part.source = source + r * q.row.source_step;
      part.codes = static_cast<std::uint8_t*>(q.row.codes) + r * q.row.code_step;
      part.next = more ? source + (r + 1) * q.row.source_step : nullptr;
      part.next_most = more && kFindsAhead ? &most : nullptr;
      made.template put_row<from>(part);
      if (!more || kFindsAhead) continue;
      Base::template raise<from>(static_cast<const char*>(part.next), q.row.count, &most, nullptr);
    }
    return q.row.rows;
  }

  // With zero points.
  template <DType from>
  static std::int64_t shifted_rows(const CellRows& q) {
    using Ends = octavo::cpu::CellEnds;
    constexpr bool kFindsAhead = kHasInverses && from == DType::bfloat16;
    const auto find = [&](const void* row, Ends& ends) {
      Base::template widen<from>(static_cast<const char*>(row), q.row.count, &ends.low, &ends.high,
                                 &ends.most);
    };
    General made(q);
    RowCodes part = one_row(q);
    const auto* source = static_cast<const char*>(q.row.source);
    Ends ends;
    find(source, ends);
    for (std::int64_t r = 0; r < q.row.rows; ++r) {
      const octavo::CellScale one = octavo::cell_scale(q.rule, {.min = ends.low, .max = ends.high});
      const bool near = one.azp > -octavo::cpu::kNearAzp && one.azp < octavo::cpu::kNearAzp;
      if (!near || !made.take(0, 1, Ints{} + ends.most, Floats{} + one.scale)) return r;
      store(q, Floats{} + one.scale, 1, r, 0);
      q.azps[r * q.azp_step] = one.azp;
      const bool more = r + 1 < q.row.rows;
      const bool finds = kFindsAhead && more && made.inverted();
      ends = {};
      part.azp = one.azp;
      part.source = source + r * q.row.source_step;
      part.codes = static_cast<std::uint8_t*>(q.row.codes) + r * q.row.code_step;
      part.next = more ? source + (r + 1) * q.row.source_step : nullptr;
      part.next_ends = finds ? &ends : nullptr;
      made.template put_row<from>(part);
      if (more && !finds) find(part.next, ends);
    }
    return q.row.rows;
  }

  template <DType from, class Codes>
  static std::int64_t groups_or_blocks(const CellRows& q) {
    return q.height > 1 ? blocks<from, Codes>(q) : groups<from, Codes>(q);
  }
  template <octavo::FloatFormat F>
  static constexpr bool kInverts = Base::template Float8Rule<true, F>::kInverts;
  template <octavo::FloatFormat F>
  static constexpr bool by_tables() {
    return Mantissas<lanes>::kServes && kInverts<F> &&
           Base::template Float8Rule<true, F>::kPut == Base::Put::signs;
  }

  template <DType from>
  static std::int64_t run_from(const CellRows& q) {
    using Function = std::int64_t (*)(const CellRows&);
    if (q.rule.azp) return shifted_rows<from>(q);
    if (q.height == 1 && q.row.run >= kLongRun && q.row.run >= q.row.count) return rows<from>(q);
    if constexpr (from == DType::bfloat16) {
      static constexpr auto kPowers =
          octavo::by_float8<Function>([]<octavo::FloatFormat F>() -> Function {
            if constexpr (Powers<lanes>::template serves<F>()) {
              return &groups_or_blocks<from, ByPowers<F>>;
            } else {
              return &groups_or_blocks<from, General>;
            }
          });
      static constexpr auto kTables =
          octavo::by_float8<Function>([]<octavo::FloatFormat F>() -> Function {
            if constexpr (by_tables<F>()) {
              return &blocks<from, ByTables<F>>;
            } else {
              return &blocks<from, General>;
            }
          });
      static constexpr auto kTies =
          octavo::by_float8<Function>([]<octavo::FloatFormat F>() -> Function {
            if constexpr (Ties<lanes>::template serves<F>() && kInverts<F>) {
              return &groups<from, ByTies<F>>;
            } else {
              return &groups<from, General>;
            }
          });
      const bool whole = q.row.run == kStep / 2 || q.row.run % kStep == 0;
      if (whole && octavo::is_float8(q.row.to)) {
        const auto to = static_cast<std::size_t>(q.row.to);
        if (q.rule.rounding != Rounding::none) return kPowers[to](q);
        if (q.height >= kTableRows) return kTables[to](q);
        if (q.height == 1 && q.row.run >= kGroup) return kTies[to](q);
      }
    }
    return groups_or_blocks<from, General>(q);
  }
  static std::int64_t run(const CellRows& q) noexcept {
    if (q.row.from == DType::float32) return run_from<DType::float32>(q);
    if (q.row.from == DType::bfloat16) return run_from<DType::bfloat16>(q);
    return run_from<DType::float16>(q);
  }
};
#undef OCTAVO_INLINE
