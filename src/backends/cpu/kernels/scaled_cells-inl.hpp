// SPDX-License-Identifier: Apache-2.0
// Cells of neighbours from elements to scales and codes, while they are in the first-level cache:
//
//   groups   | 0 | 1 | ... | lanes - 1 | lanes | ...    a vector of cells at a time: what each
//                                                       reaches, scales in lanes, codes
//   rows     | 0                                   |    a cell at a time: its codes, and beside
//            | 1                                   |    them what the next one reaches
//
// Scales are those of core/scale_rule.hpp, in lanes. Whoever calls does the cells that this leaves:
// those that hold infinities or NaN, and scales at the ends of float32's range.
//
// Included after quantize_rows-inl.hpp inside an instruction-set region.

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

  static OCTAVO_INLINE bool any_from(Ints bits, std::uint32_t least) {
    return any_greater(bits, Ints{} + static_cast<std::int32_t>(least - 1));
  }

  // Of magnitudes as bits: symmetric_scale of core/scale_rule.hpp.
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

  // What codes are made with: factors in memory, and inverses where they may serve.
  class General {
   public:
    explicit OCTAVO_INLINE General(const CellRows& q)
        : tie_bits_(octavo::cpu::tie_bits(q.row.to)) {}
    // False: of one of these cells that are not.
    OCTAVO_INLINE bool take(Ints most, Floats scale) {
      constexpr std::uint32_t kNear = (9U + 127U) << 23;  // of RowCodes::inverses
      const Floats reached = floats(reinterpret_cast<const Words&>(most));
      const Ints quotient = ints(words(reached / scale));
      if (!are_usual(most, ints(words(scale)), quotient, 0)) return false;
      put_vector(scale, scale_);
      if constexpr (kHasInverses) {
        Floats inverse, rest;
        Ints doubts{};
        Base::invert(scale, tie_bits_, inverse, rest, doubts);
        put_vector(inverse, inverse_);
        put_vector(rest, rest_);
        inverted_ = !any_from(quotient, kNear) && !any_greater(-doubts, Ints{});
      }
      return true;
    }
    template <DType from>
    OCTAVO_INLINE void put(RowCodes& part) const {
      part.factors = scale_;
      part.inverses = inverted_ ? inverse_ : nullptr;
      part.inverse_rests = rest_;
      Base::template codes_from<from, true>(part);
    }
    template <DType from>
    OCTAVO_INLINE void put_row(RowCodes& part) const {
      part.factor = scale_[0];
      part.inverses = inverted_ ? inverse_ : nullptr;
      part.inverse_rests = rest_;
      Base::template codes_from<from, true>(part);
    }

   private:
    float scale_[lanes], inverse_[lanes], rest_[lanes];
    int tie_bits_;
    bool inverted_ = false;
  };
  // Of bfloat16, by scales that are powers of two.
  template <octavo::FloatFormat F>
  class ByPowers {
   public:
    using Rule = typename Base::template Float8Rule<DType::bfloat16, true, F>;
    using Of = typename Base::template PowersOf<F>;
    explicit OCTAVO_INLINE ByPowers(const CellRows& q)
        : rule_(q.row), codes_of_(Rule::overflown(q.row)) {}
    OCTAVO_INLINE bool take(Ints most, Floats scale) {
      const Words bits = words(scale);
      const Ints quotient = most - ints(bits) + (127 << 23);
      if (!are_usual(most, ints(bits), quotient, Of::kLeast)) return false;
      Words less, bound;
      Of::cell(bits, less, bound);
      put_vector(scale, scale_);
      put_vector(less, less_);
      put_vector(bound, bound_);
      return true;
    }
    template <DType from>
    OCTAVO_INLINE void put(RowCodes& part) const {
      using Place = typename Base::Place;
      const std::int64_t whole = part.count / kStep * kStep;
      Place place = Base::of_whole_lines(part);
      Base::template steps_by_powers<F>(rule_, typename Base::Factors(scale_), part.run, less_,
                                        bound_, place, whole, codes_of_);
      if (whole == part.count) return;
      part.factors = scale_;
      Base::template codes_of_runs<from>(rule_, part, whole, place);
    }

   private:
    float scale_[lanes];
    std::uint32_t less_[lanes], bound_[lanes];
    Rule rule_;
    Of codes_of_;
  };

  template <DType from, class Codes>
  static std::int64_t groups(const CellRows& q) {
    constexpr std::int64_t kBytes = octavo::element_bytes(from);
    const std::int64_t run = q.row.run;
    const std::int64_t across = (q.row.count + run - 1) / run;
    Codes made(q);
    RowCodes part = q.row;
    part.rows = 1;
    part.tame = true;
    for (std::int64_t r = 0; r < q.row.rows; ++r) {
      const char* source = static_cast<const char*>(q.row.source) + r * q.row.source_step;
      auto* codes = static_cast<std::uint8_t*>(q.row.codes) + r * q.row.code_step;
      for (std::int64_t j = 0; j < across; j += lanes) {
        const std::int64_t i = j * run;
        part.count = lanes * run < q.row.count - i ? lanes * run : q.row.count - i;
        part.source = source + i * kBytes;
        part.codes = codes + i;
        part.next = source + (i + lanes * run) * kBytes;
        const Ints most = reached<from>(source + i * kBytes, part.count, run);
        const Floats scale = scales_of(q.rule, most);
        if (!made.take(most, scale)) return r * across + j;
        store(q, scale, across - j, r, j);
        made.template put<from>(part);
      }
    }
    return q.row.rows * across;
  }

  template <DType from>
  static std::int64_t rows(const CellRows& q) {
    constexpr bool kFindsAhead = kHasInverses && from == DType::bfloat16;
    General made(q);
    RowCodes part = q.row;
    part.rows = 1;
    part.tame = true;
    std::int32_t most = 0;
    const auto* source = static_cast<const char*>(q.row.source);
    Base::template raise<from>(source, q.row.count, &most, nullptr);
    for (std::int64_t r = 0; r < q.row.rows; ++r) {
      const Floats scale = scales_of(q.rule, Ints{} + most);
      if (!made.take(Ints{} + most, scale)) return r;
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

  template <DType from>
  static std::int64_t run_from(const CellRows& q) {
    if (q.row.run >= kLongRun && q.row.run >= q.row.count) return rows<from>(q);
    if constexpr (from == DType::bfloat16) {
      using Function = std::int64_t (*)(const CellRows&);
      static constexpr auto kByPowers =
          octavo::by_float8<Function>([]<octavo::FloatFormat F>() -> Function {
            if constexpr (Powers<lanes>::template serves<F>()) {
              return &groups<from, ByPowers<F>>;
            } else {
              return &groups<from, General>;
            }
          });
      const bool whole = q.row.run == kStep / 2 || q.row.run % kStep == 0;
      if (q.rule.rounding != Rounding::none && whole && octavo::is_float8(q.row.to)) {
        return kByPowers[static_cast<std::size_t>(q.row.to)](q);
      }
    }
    return groups<from, General>(q);
  }
  static std::int64_t run(const CellRows& q) noexcept {
    if (q.row.from == DType::float32) return run_from<DType::float32>(q);
    if (q.row.from == DType::bfloat16) return run_from<DType::bfloat16>(q);
    return run_from<DType::float16>(q);
  }
};
#undef OCTAVO_INLINE
