// SPDX-License-Identifier: Apache-2.0
// Columns from elements to scales and codes, a strip of 64 at a time, two lines of 2-byte elements:
//
//   | codes of this strip | what the next one reaches |     row after row, side by side
//   | (from a cache)      | (from memory)             |
//   |  24 rows ahead      |   48 rows ahead           |     fetched
//
// Memory is read once. Hardware that follows streams fetches beyond pieces of more than two lines,
// and has too few lines on their way of pieces that nobody announces. The four lines of float32 are
// slower than two, but faster than two readings.
//
// Needs: ScaledCells
// Gives: ScaledColumns

#define OCTAVO_INLINE inline __attribute__((always_inline))

template <int lanes>
struct ScaledColumns : ScaledCells<lanes> {
  using Base = ScaledCells<lanes>;
  using Base::kStep;
  using typename Base::DType;
  using typename Base::Factors;
  using typename Base::Floats;
  using typename Base::General;
  using typename Base::Ints;
  using typename Base::Inverses;
  using typename Base::Words;
  using CellRows = octavo::cpu::CellRows;

  static constexpr std::int64_t kColumns = octavo::cpu::kStripColumns;
  // Of what comes from memory: more rows of 16 KB would drive each other out of the second-level
  // cache. And from a cache, the third one where rows are many.
  static constexpr std::int64_t kRowsAhead = 48;
  static constexpr std::int64_t kSoon = 24;

  // Of a row of a strip.
  template <DType from>
  static constexpr std::int64_t kWidth = kColumns* octavo::element_bytes(from);

  // Magnitudes as integers of the elements' width, NaN above infinity.
  template <DType from>
  struct Reached {
    using Raw = typename Base::template RawOf<from>;
    static constexpr int kVectors = kWidth<from> / Raw::kBytes;
    typename Raw::Vector most[kVectors]{};
    OCTAVO_INLINE void add(const char* source) {
      for (int i = 0; i < kVectors; ++i) {
        most[i] = Base::larger(most[i], Raw::magnitudes(source + i * Raw::kBytes));
      }
    }
  };

  template <DType from>
  static OCTAVO_INLINE const char* row_of(const CellRows& q, std::int64_t strip, std::int64_t r) {
    return static_cast<const char*>(q.row.source) + strip * kWidth<from> + r * q.row.source_step;
  }

  // The codes of a strip, and what the next one reaches if there is one.
  template <DType from, bool more, class Rule, class Cells>
  static OCTAVO_INLINE void strip(const CellRows& q, std::int64_t s, const Rule& given,
                                  const Cells& cells, Reached<from>& next, bool last) {
    const Rule rule = given;
    const std::int64_t step = q.row.source_step;
    const std::int64_t ahead = kRowsAhead < q.row.rows ? kRowsAhead : q.row.rows;
    const std::int64_t turn = q.row.rows - ahead;
    // Behind the next strip's last rows come the first ones of the strip behind it.
    const std::int64_t wrap = last ? -ahead * step : kWidth<from> - q.row.rows * step;
    const char* source = row_of<from>(q, s, 0);
    auto* codes = static_cast<std::uint8_t*>(q.row.codes) + s * kColumns;
    Reached<from> own;
    for (std::int64_t r = 0; r < q.row.rows; ++r, source += step, codes += q.row.code_step) {
      if constexpr (more) {
        const char* beside = source + kWidth<from>;
        Base::template fetch<kWidth<from>>(beside + ahead * step + (r < turn ? 0 : wrap));
        own.add(beside);
      }
      Base::template fetch<kWidth<from>>(source + (r + kSoon < q.row.rows ? kSoon * step : 0));
      for (std::int64_t i = 0; i < kColumns; i += kStep) {
        Base::template step<from>(rule, cells, i, source + i * octavo::element_bytes(from),
                                  codes + i, q.row.streamed);
      }
    }
    next = own;
  }

  // Factors of a strip and how its codes are made with them.
  class Strip : public General {
   public:
    explicit OCTAVO_INLINE Strip(const CellRows& q) : General(q) {}
    template <DType from>
    OCTAVO_INLINE bool take_all(const CellRows& q, std::int64_t s, const Reached<from>& reached) {
      alignas(64) char raw[kWidth<from>];
      std::memcpy(raw, reached.most, sizeof(raw));
      for (std::int64_t j = 0; j < kColumns; j += lanes) {
        const Ints most = Base::ints(
            Base::words(Base::template load<from>(raw + j * octavo::element_bytes(from))));
        const Floats scale = Base::scales_of(q.rule, most);
        if (!this->take(j, lanes, most, scale)) return false;
        Base::store(q, scale, lanes, 0, s * kColumns + j);
      }
      return true;
    }
    template <DType from, bool more, class Rule>
    OCTAVO_INLINE void put_all(const CellRows& q, std::int64_t s, const Rule& rule,
                               Reached<from>& next, bool last) {
      if constexpr (Base::kHasInverses && Rule::kInverts) {
        if (this->inverted_) {
          const Inverses inverses(this->inverse_, this->rest_);
          turn<CellsOf<from, Rule, Inverses>>(this->inverse_);
          turn<CellsOf<from, Rule, Inverses>>(this->rest_);
          return strip<from, more>(q, s, rule, CellsOf<from, Rule, Inverses>{inverses, nullptr},
                                   next, last);
        }
      }
      const Factors factors(this->scale_);
      turn<CellsOf<from, Rule, Factors>>(this->scale_);
      strip<from, more>(q, s, rule, CellsOf<from, Rule, Factors>{factors, nullptr}, next, last);
    }

   private:
    template <class Divisors>
    using InOrder = typename Base::template Each<Divisors>;
    template <class Divisors>
    using InPairs = typename Base::template EachInPairs<Divisors>;
    // In pairs where that saves instructions. Not integers, whose memory is slower then.
    template <DType from, class Rule, class Divisors>
    using CellsOf =
        std::conditional_t<Rule::kPut == Base::Put::signs &&
                               Base::template kTakesPairs<from, Rule, InPairs<Divisors>>,
                           InPairs<Divisors>, InOrder<Divisors>>;

    // Factors of all columns into the order of cells.
    template <class Cells>
    static OCTAVO_INLINE void turn(float* factors) {
      if constexpr (Cells::kInPairs) {
        for (std::int64_t j = 0; j < kColumns; j += 2 * lanes, factors += 2 * lanes) {
          float transposed[2 * lanes];
          for (std::int64_t k = 0; k < lanes; ++k) {
            transposed[k] = factors[2 * k];
            transposed[lanes + k] = factors[2 * k + 1];
          }
          std::memcpy(factors, transposed, sizeof(transposed));
        }
      }
    }
  };

  template <DType from, class Rule>
  static std::int64_t columns(const CellRows& q) {
    const std::int64_t strips = q.row.count / kColumns;
    const Rule rule(q.row);
    Reached<from> reached;
    for (std::int64_t r = 0; strips > 0 && r < q.row.rows; ++r) {
      const char* source = row_of<from>(q, 0, r);
      Base::template fetch<kWidth<from>>(
          source + (r + kRowsAhead < q.row.rows ? kRowsAhead * q.row.source_step : 0));
      reached.add(source);
    }
    Strip made(q);
    for (std::int64_t s = 0; s < strips; ++s) {
      if (!made.template take_all<from>(q, s, reached)) return s * kColumns;
      if (s + 1 < strips) {
        made.template put_all<from, true>(q, s, rule, reached, s + 2 == strips);
      } else {
        made.template put_all<from, false>(q, s, rule, reached, true);
      }
    }
    return strips * kColumns;
  }

  template <DType from>
  static std::int64_t columns_from(const CellRows& q) {
    using Function = std::int64_t (*)(const CellRows&);
    static constexpr auto kFloat8 =
        octavo::by_float8<Function>([]<octavo::FloatFormat F>() -> Function {
          return &columns<from, typename Base::template Float8Rule<true, F>>;
        });
    if (octavo::is_float8(q.row.to)) return kFloat8[static_cast<std::size_t>(q.row.to)](q);
    return columns<from, typename Base::template ToInteger<true>>(q);
  }

  static std::int64_t run(const CellRows& q) noexcept {
    if (q.row.run > 1 || q.height == 1) return Base::run(q);
    if (q.row.from == DType::float32) return columns_from<DType::float32>(q);
    if (q.row.from == DType::bfloat16) return columns_from<DType::bfloat16>(q);
    return columns_from<DType::float16>(q);
  }
};
#undef OCTAVO_INLINE
