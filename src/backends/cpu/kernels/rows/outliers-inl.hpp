// SPDX-License-Identifier: Apache-2.0
// LLM.int8's outliers (specification section 8): finding them by row and by column,
//
//   flags[c] = 1 where |x[r][c]| >= threshold for any r,    absmax[r] over the others
//
// and their products, which enter a tile of 64 columns beside its sums:
//
//   out[r][j] = sum over outlier columns c, ascending, of a[r][c] * w[c][j]      rounded each
//
// any_greater(a, b): whether a lane of a is above b's.
//
// Needs: any_greater, put_vector, Statistics, vector_at
// Gives: Outliers

#define OCTAVO_INLINE inline __attribute__((always_inline))

template <int lanes, std::size_t... v>
struct Outliers : Statistics<lanes> {
  using Base = Statistics<lanes>;
  using Base::ints;
  using Base::larger;
  using Base::where;
  using Base::words;
  using typename Base::DType;
  using typename Base::Floats;
  using typename Base::Ints;

  template <DType from>
  static OCTAVO_INLINE Ints magnitudes(const char* source) {
    return ints(words(Base::template load<from>(source)) & 0x7FFFFFFFU);
  }
  // Magnitudes below the limit, and NaN.
  static OCTAVO_INLINE Ints below(Ints magnitude, std::int32_t limit) {
    return ints(Base::outside(reinterpret_cast<const typename Base::Words&>(magnitude),
                              static_cast<std::uint32_t>(limit), octavo::cpu::kNanBits));
  }

  // Other threads write flags too, the same value.
  static OCTAVO_INLINE void raise_flag(std::uint8_t* flag) {
    if (__atomic_load_n(flag, __ATOMIC_RELAXED) == 0) __atomic_store_n(flag, 1, __ATOMIC_RELAXED);
  }
  static __attribute__((noinline)) void raise_flags(Ints magnitude, std::int32_t limit,
                                                    std::uint8_t* flags) {
    std::int32_t each[lanes];
    std::memcpy(each, &magnitude, sizeof(each));
    for (int i = 0; i < lanes; ++i) {
      if (each[i] >= limit && each[i] <= 0x7F800000) raise_flag(flags + i);
    }
  }

  // No magnitude up to limit - 1 is one of NaN or infinity.
  template <DType from>
  static float find_as(const char* source, std::int64_t count, std::int32_t limit,
                       std::uint8_t* flags) {
    constexpr std::int64_t kBytes = octavo::element_bytes(from);
    const Ints beyond = Ints{} + (limit - 1);
    Ints most{};
    const auto take = [&](const char* at, std::uint8_t* flag) __attribute__((always_inline)) {
      const Ints magnitude = magnitudes<from>(at);
      if (any_greater(magnitude, beyond)) {
        raise_flags(magnitude, limit, flag);
        most = larger(most, below(magnitude, limit));
      } else {
        most = larger(most, magnitude);
      }
    };
    std::int64_t i = 0;
    for (; i + lanes <= count; i += lanes) take(source + i * kBytes, flags + i);
    if (i < count && count >= lanes) {
      take(source + (count - lanes) * kBytes, flags + count - lanes);  // some of them once more
    } else if (i < count) {
      char padded[lanes * kBytes] = {};
      std::uint8_t more[lanes] = {};
      std::memcpy(padded, source, static_cast<std::size_t>(count * kBytes));
      take(padded, more);
      for (std::int64_t j = 0; j < count; ++j) {
        if (more[j] != 0) raise_flag(flags + j);
      }
    }
    return std::bit_cast<float>(std::int32_t{Base::template largest_lane<lanes / 2>(most)[0]});
  }
  static float find(DType from, const void* row, std::int64_t count, std::uint32_t limit,
                    std::uint8_t* flags) noexcept {
    const auto* source = static_cast<const char*>(row);
    const auto least = static_cast<std::int32_t>(limit);
    if (from == DType::float32) return find_as<DType::float32>(source, count, least, flags);
    if (from == DType::bfloat16) return find_as<DType::bfloat16>(source, count, least, flags);
    return find_as<DType::float16>(source, count, least, flags);
  }

  using Scan = octavo::cpu::LineScan;

  // Lines whose maxima meet in registers.
  template <DType from, bool finds, std::size_t... line>
  static OCTAVO_INLINE void scan_together(const Scan& s, const char* first, std::uint8_t* flags,
                                          std::index_sequence<line...>) {
    constexpr std::int64_t kBytes = octavo::element_bytes(from);
    const std::int32_t limit = static_cast<std::int32_t>(s.limit);
    const Ints beyond = Ints{} + (limit - 1);
    alignas(64) Ints highest[] = {(static_cast<void>(line), Ints{})...};
    const auto take = [&](std::size_t l, const char* at) __attribute__((always_inline)) {
      const Ints magnitude = magnitudes<from>(at);
      if constexpr (finds) highest[l] |= magnitude > beyond;
      return below(magnitude, limit);
    };
    std::int64_t i = 0;
    for (; i + lanes <= s.count; i += lanes) {
      auto most = vector_at<Ints>(s.most + i);
      ((most = larger(
            most, take(line, first + static_cast<std::int64_t>(line) * s.line_bytes + i * kBytes))),
       ...);
      put_vector(most, s.most + i);
    }
    if (i < s.count) {
      char padded[lanes * kBytes] = {};
      const auto bytes = static_cast<std::size_t>((s.count - i) * kBytes);
      auto most = vector_at<Ints>(s.most + i);
      ((std::memcpy(padded, first + static_cast<std::int64_t>(line) * s.line_bytes + i * kBytes,
                    bytes),
        most = larger(most, take(line, padded))),
       ...);
      put_vector(most, s.most + i);
    }
    if constexpr (finds) {
      const auto tell = [&](std::size_t l) __attribute__((always_inline)) {
        if (!any_greater(Ints{}, highest[l])) return;
        if (holds_outlier<from>(s, first + static_cast<std::int64_t>(l) * s.line_bytes)) {
          raise_flag(flags + l);
        }
      };
      (tell(line), ...);
    }
  }
  // Of a line with magnitudes from the limit on: whether one of them is a number.
  template <DType from>
  static __attribute__((noinline)) bool holds_outlier(const Scan& s, const char* line) {
    constexpr std::int64_t kBytes = octavo::element_bytes(from);
    for (std::int64_t i = 0; i < s.count; i += lanes) {
      char padded[lanes * kBytes] = {};
      const std::int64_t rest = s.count - i < lanes ? s.count - i : lanes;
      std::memcpy(padded, line + i * kBytes, static_cast<std::size_t>(rest * kBytes));
      std::int32_t each[lanes];
      const Ints magnitude = magnitudes<from>(padded);
      std::memcpy(each, &magnitude, sizeof(each));
      for (const std::int32_t bits : each) {
        if (bits >= static_cast<std::int32_t>(s.limit) && bits <= 0x7F800000) return true;
      }
    }
    return false;
  }

  template <DType from, bool finds>
  static void scan_as(const Scan& s) {
    const auto* line = static_cast<const char*>(s.source);
    std::uint8_t* flags = s.flags;
    std::int64_t l = 0;
    for (; l + 4 <= s.lines; l += 4, line += 4 * s.line_bytes) {
      scan_together<from, finds>(s, line, finds ? flags + l : nullptr,
                                 std::make_index_sequence<4>());
    }
    for (; l < s.lines; ++l, line += s.line_bytes) {
      scan_together<from, finds>(s, line, finds ? flags + l : nullptr,
                                 std::make_index_sequence<1>());
    }
  }
  template <DType from>
  static void scan_of(const Scan& s) {
    return s.flags != nullptr ? scan_as<from, true>(s) : scan_as<from, false>(s);
  }
  static void scan_lines(const Scan& s) noexcept {
    if (s.from == DType::float32) return scan_of<DType::float32>(s);
    if (s.from == DType::bfloat16) return scan_of<DType::bfloat16>(s);
    return scan_of<DType::float16>(s);
  }

  using Tile = octavo::cpu::OutlierTile;
  static constexpr std::int64_t kCols = octavo::cpu::kTileCols;
  static constexpr std::int64_t kCount = sizeof...(v) * lanes;

  static OCTAVO_INLINE Floats at(const float* p) { return vector_at<Floats>(p); }

  // The elements of a row that are multiplied, and the rows of weights that they meet.
  enum class Pick { all, shared, listed };

  // Rows that share each weight, as many as registers hold the sums of.
  static constexpr std::int64_t kRows = lanes == 16 ? 4 : 2;
  static constexpr std::size_t kVectors = sizeof...(v);

  template <std::size_t row>
  static OCTAVO_INLINE void add_value(Floats* sum, const Floats* weight, float value) {
    ((sum[row * kVectors + v] = sum[row * kVectors + v] + weight[v] * value), ...);
  }
  template <std::size_t row>
  static OCTAVO_INLINE void begin_row(const Tile& t, float* sums, Floats* sum) {
    sums += row * kCols;
    ((sum[row * kVectors + v] = t.first ? Floats{} : at(sums + v * lanes)), ...);
  }
  template <std::size_t row>
  static OCTAVO_INLINE void end_row(float* sums, const Floats* sum) {
    sums += row * kCols;
    (put_vector(sum[row * kVectors + v], sums + v * lanes), ...);
  }

  static OCTAVO_INLINE const float* weights_of(const Tile& t, std::int64_t column) {
    constexpr std::int64_t kPanel = octavo::cpu::kPanelCols;
    return t.weights + column / kPanel * t.weight_step + column % kPanel;
  }

  // Sums stay in registers for all products of some rows.
  template <Pick pick, std::size_t... row>
  static OCTAVO_INLINE void add_rows(const Tile& t, std::int64_t r, std::int64_t column,
                                     std::index_sequence<row...>) {
    const float* values[] = {(t.values + (r + static_cast<std::int64_t>(row)) * t.stride)...};
    const float* const columns[] = {
        weights_of(t, column + static_cast<std::int64_t>(v) * lanes)...};
    const std::uint16_t* places = pick == Pick::listed ? t.places + r * t.stride : t.picks;
    const std::int64_t count = pick == Pick::listed ? t.counts[r] : t.count;
    float* sums = t.sums + r * kCols + column;
    alignas(64) Floats sum[sizeof...(row) * kVectors];
    (begin_row<row>(t, sums, sum), ...);
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t place = pick == Pick::all ? i : places[i];
      const std::int64_t element = pick == Pick::listed ? i : place;
      alignas(64) const Floats weight[] = {at(columns[v] + place * t.weight_row)...};
      (add_value<row>(sum, weight, values[row][element]), ...);
    }
    (end_row<row>(sums, sum), ...);
  }
  template <Pick pick, std::int64_t rows>
  static OCTAVO_INLINE void add_columns(const Tile& t, std::int64_t r) {
    for (std::int64_t column = 0; column < kCols; column += kCount) {
      add_rows<pick>(t, r, column, std::make_index_sequence<static_cast<std::size_t>(rows)>());
    }
  }
  template <Pick pick>
  static void add_together(const Tile& t) {
    std::int64_t r = 0;
    for (; r + kRows <= t.rows; r += kRows) {
      add_columns<pick, kRows>(t, r);
    }
    for (; r < t.rows; ++r) add_columns<pick, 1>(t, r);
  }
  static void add(const Tile& t) noexcept {
    if (t.counts != nullptr) {
      for (std::int64_t r = 0; r < t.rows; ++r) add_columns<Pick::listed, 1>(t, r);
    } else if (t.picks != nullptr) {
      add_together<Pick::shared>(t);
    } else {
      add_together<Pick::all>(t);
    }
  }
};
#undef OCTAVO_INLINE
