// SPDX-License-Identifier: Apache-2.0
// What a row's elements reach, the first pass of every quantiser:
//
//   absmax = max |x[i]|          [low, high] = the range of finite x[i]
//
// of a row or of each `run` neighbours; magnitudes are compared as integers (the bits of |x|), so
// that NaN is above infinity and no order of comparisons matters.
//
// Needs: half_to_float, Lanes, put_vector, vector_at, wide_halves
// Gives: Statistics

#define OCTAVO_INLINE inline __attribute__((always_inline))

template <int lanes>
struct Statistics {
  using Floats = Lanes<float, lanes>;
  using Ints = Lanes<std::int32_t, lanes>;
  using Words = Lanes<std::uint32_t, lanes>;
  using Halves = Lanes<std::uint16_t, lanes>;
  using DType = octavo::DType;

  static OCTAVO_INLINE Ints ints(Words x) { return reinterpret_cast<const Ints&>(x); }
  static OCTAVO_INLINE Words words(Floats x) { return reinterpret_cast<const Words&>(x); }
  static OCTAVO_INLINE Floats floats(Words x) { return reinterpret_cast<const Floats&>(x); }
  static OCTAVO_INLINE Words choose(Ints mask, Words a, Words b) { return mask ? a : b; }
  static OCTAVO_INLINE Words where(Ints mask, Words a) { return mask ? a : Words{}; }
  template <class Vector>
  static OCTAVO_INLINE Vector smaller(Vector a, Vector b) {
    return a < b ? a : b;
  }
  template <class Vector>
  static OCTAVO_INLINE Vector larger(Vector a, Vector b) {
    return a > b ? a : b;
  }

  // Elements at any address as float32; a NaN stays one of its sign.
  template <DType from>
  static OCTAVO_INLINE Floats load(const char* source) {
    if constexpr (from == DType::float32) {
      return vector_at<Floats>(source);
    } else {
      const auto codes = vector_at<Halves>(source);
      if constexpr (from == DType::float16) return half_to_float(codes);
      return floats(wide_halves(codes) << 16);
    }
  }

  template <int by, class Vector, std::size_t... i>
  static OCTAVO_INLINE Vector rotated(Vector x, std::index_sequence<i...>) {
    return __builtin_shufflevector(x, x, ((static_cast<int>(i) + by) % sizeof...(i))...);
  }
  // Every lane of the result.
  template <int by, class Vector>
  static OCTAVO_INLINE Vector largest_lane(Vector x) {
    if constexpr (by == 0) {
      return x;
    } else {
      constexpr auto kAll = std::make_index_sequence<sizeof(Vector) / sizeof(x[0])>();
      return largest_lane<by / 2>(larger(x, rotated<by>(x, kAll)));
    }
  }

  // Magnitudes outside [first, end), with one comparison: what is below `first` wraps.
  static OCTAVO_INLINE Words outside(Words magnitude, std::uint32_t first, std::uint32_t end) {
    return where(ints(magnitude - first >= Words{} + (end - first)), magnitude);
  }

  // Magnitudes compare as integers, which need no order of evaluation.
  struct Absmax {
    std::uint32_t first, end;  // of those that are left out
    Ints most{};
    OCTAVO_INLINE void add(Floats x) {
      most = larger(most, ints(outside(words(x) & 0x7FFFFFFFU, first, end)));
    }
    OCTAVO_INLINE float result() const {
      const Ints largest = largest_lane<lanes / 2>(most);
      return std::bit_cast<float>(std::int32_t{largest[0]});
    }
  };

  // Of the finite elements.
  struct Range {
    Floats low = Floats{} + __builtin_inff(), high = Floats{} - __builtin_inff();
    OCTAVO_INLINE void add(Floats x) {
      const Ints finite = ints(words(x) & 0x7FFFFFFFU) < 0x7F800000;
      const Words none = Words{} + 0x7F800000U;  // what waits for nothing: not `low` and `high`
      low = smaller(floats(choose(finite, words(x), none)), low);
      high = larger(floats(choose(finite, words(x), none | 0x80000000U)), high);
    }
    OCTAVO_INLINE void result(float& least, float& most) const {
      const float first = -largest_lane<lanes / 2>(-low)[0];
      const float last = largest_lane<lanes / 2>(high)[0];
      least = first < least ? first : least;
      most = last > most ? last : most;
    }
  };

  template <DType from, class Reduction>
  static OCTAVO_INLINE void reduce_as(const char* source, std::int64_t count,
                                      Reduction& reduction) {
    constexpr std::int64_t kBytes = octavo::element_bytes(from);
    Reduction inner = reduction;  // in registers
    const bool overlap = count >= lanes;
    for (; count >= lanes; count -= lanes, source += lanes * kBytes) inner.add(load<from>(source));
    if (count > 0 && overlap) {
      inner.add(load<from>(source - (lanes - count) * kBytes));  // some of them once more
    } else if (count > 0) {
      char padded[lanes * kBytes];  // with the first element, which changes nothing
      for (std::int64_t i = 0; i < lanes; ++i) {
        std::memcpy(padded + i * kBytes, source + (i < count ? i : 0) * kBytes, kBytes);
      }
      inner.add(load<from>(padded));
    }
    reduction = inner;
  }

  static float absmax(DType from, const void* row, std::int64_t count,
                      octavo::cpu::Magnitudes left_out) noexcept {
    const auto* source = static_cast<const char*>(row);
    Absmax reduction{left_out.first, left_out.end};
    if (from == DType::float32) {
      reduce_as<DType::float32>(source, count, reduction);
    } else if (from == DType::bfloat16) {
      reduce_as<DType::bfloat16>(source, count, reduction);
    } else {
      reduce_as<DType::float16>(source, count, reduction);
    }
    return reduction.result();
  }

  // Integers as wide as elements are, a vector of them, and their magnitudes.
  template <class Element>
  struct Raw {
    static constexpr int kLanes = lanes * 4 / static_cast<int>(sizeof(Element));
    using Vector = Lanes<Element, kLanes>;
    static constexpr auto kBytes = static_cast<std::int64_t>(sizeof(Vector));
    static OCTAVO_INLINE Vector magnitudes(const char* source) {
      return vector_at<Vector>(source) & std::numeric_limits<Element>::max();
    }
  };

  // Into the second-level cache, unless null: what is fetched is not read before the row at hand
  // has been.
  template <std::int64_t bytes>
  static OCTAVO_INLINE void fetch(const char* next) {
    if (next == nullptr) return;
    for (std::int64_t line = 0; line < bytes; line += 64) __builtin_prefetch(next + line, 0, 2);
  }

  static OCTAVO_INLINE const char* behind(const char* next, std::int64_t bytes) {
    return next == nullptr ? nullptr : next + bytes;
  }

  // The largest magnitude as an integer of the element's own width, NaN above infinity.
  template <class Element>
  static OCTAVO_INLINE Element largest(const char* source, std::int64_t count, const char* next) {
    using Of = Raw<Element>;
    typename Of::Vector a{}, b{}, c{}, d{};
    std::int64_t bytes = count * static_cast<std::int64_t>(sizeof(Element));
    const bool overlap = bytes >= Of::kBytes;
    for (; bytes >= 4 * Of::kBytes; bytes -= 4 * Of::kBytes, source += 4 * Of::kBytes) {
      fetch<4 * Of::kBytes>(next);
      next = behind(next, 4 * Of::kBytes);
      a = larger(a, Of::magnitudes(source));
      b = larger(b, Of::magnitudes(source + Of::kBytes));
      c = larger(c, Of::magnitudes(source + 2 * Of::kBytes));
      d = larger(d, Of::magnitudes(source + 3 * Of::kBytes));
    }
    for (; bytes >= Of::kBytes; bytes -= Of::kBytes, source += Of::kBytes) {
      a = larger(a, Of::magnitudes(source));
    }
    if (bytes > 0 && overlap) {
      b = larger(b, Of::magnitudes(source + bytes - Of::kBytes));  // some of them once more
    } else if (bytes > 0) {
      char padded[Of::kBytes] = {};
      std::memcpy(padded, source, static_cast<std::size_t>(bytes));
      b = larger(b, Of::magnitudes(padded));
    }
    return largest_lane<Of::kLanes / 2>(larger(larger(a, b), larger(c, d)))[0];
  }

  // Raises most[0] to the largest magnitude of a run.
  template <DType from>
  static OCTAVO_INLINE void raise(const char* source, std::int64_t count, std::int32_t* most,
                                  const char* next) {
    std::int32_t bits = 0;
    if constexpr (from == DType::float32) {
      bits = largest<std::int32_t>(source, count, next);
    } else {
      const std::int16_t magnitude = largest<std::int16_t>(source, count, next);
      Halves halves{};
      halves[0] = static_cast<std::uint16_t>(magnitude);
      const Words value = words(load<from>(reinterpret_cast<const char*>(&halves)));
      bits = static_cast<std::int32_t>(value[0]);
    }
    *most = bits > *most ? bits : *most;
  }

  // Integers as wide as the elements of a type.
  template <DType from>
  using RawOf = Raw<std::conditional_t<from == DType::float32, std::int32_t, std::int16_t>>;

  template <class Vector, std::size_t... i>
  static OCTAVO_INLINE Vector larger_of_pairs(Vector a, Vector b, std::index_sequence<i...>) {
    return larger(__builtin_shufflevector(a, b, (2 * static_cast<int>(i))...),
                  __builtin_shufflevector(a, b, (2 * static_cast<int>(i) + 1)...));
  }
  // The largest magnitudes of neighbouring cells, `vectors` vectors each, side by side: each cell's
  // has the lanes of a vector divided by the number of cells.
  template <DType from, int cells>
  static OCTAVO_INLINE auto largest_of_cells(const char* source, std::int64_t vectors) {
    using Of = RawOf<from>;
    if constexpr (cells == 1) {
      auto most = Of::magnitudes(source);
      for (std::int64_t i = 1; i < vectors; ++i) {
        most = larger(most, Of::magnitudes(source + i * Of::kBytes));
      }
      return most;
    } else {
      const auto front = largest_of_cells<from, cells / 2>(source, vectors);
      const auto back =
          largest_of_cells<from, cells / 2>(source + cells / 2 * vectors * Of::kBytes, vectors);
      return larger_of_pairs(front, back, std::make_index_sequence<Of::kLanes>());
    }
  }
  // Of `lanes` cells, as bits of float32.
  template <DType from>
  static OCTAVO_INLINE Ints magnitudes_of_cells(const char* source, std::int64_t vectors) {
    const auto raw = largest_of_cells<from, lanes>(source, vectors);
    if constexpr (from == DType::float32) {
      return raw;
    } else {
      const Words pairs = reinterpret_cast<const Words&>(raw);
      const Ints each = larger(ints(pairs & 0xFFFFU), ints(pairs >> 16));
      if constexpr (from == DType::bfloat16) return each << 16;
      return ints(words(half_to_float(__builtin_convertvector(each, Halves))));
    }
  }
  // Raises most[j] of `lanes` cells.
  template <DType from>
  static OCTAVO_INLINE void raise_cells(const char* source, std::int64_t vectors,
                                        std::int32_t* most) {
    put_vector(larger(vector_at<Ints>(most), magnitudes_of_cells<from>(source, vectors)), most);
  }

  template <DType from>
  static OCTAVO_INLINE void raise_each(const char* source, std::int64_t i, std::int32_t* most) {
    constexpr std::int64_t kBytes = octavo::element_bytes(from);
    const Ints magnitude = ints(words(load<from>(source + i * kBytes)) & 0x7FFFFFFFU);
    put_vector(larger(vector_at<Ints>(most + i), magnitude), most + i);
  }
  template <DType from>
  static OCTAVO_INLINE void widen_each(const char* source, std::int64_t i, float* low,
                                       float* high) {
    constexpr std::int64_t kBytes = octavo::element_bytes(from);
    Range range{vector_at<Floats>(low + i), vector_at<Floats>(high + i)};
    range.add(load<from>(source + i * kBytes));
    put_vector(range.low, low + i);
    put_vector(range.high, high + i);
  }

  template <DType from>
  static void magnitudes_from(const char* source, std::int64_t count, std::int64_t run,
                              std::int32_t* most, const char* next) {
    constexpr std::int64_t kBytes = octavo::element_bytes(from);
    std::int64_t i = 0;
    if (run == 1) {
      constexpr std::int64_t kFetched = 4 * lanes;
      for (; i + kFetched <= count; i += kFetched) {
        fetch<kFetched * kBytes>(behind(next, i * kBytes));
        for (std::int64_t k = i; k < i + kFetched; k += lanes) raise_each<from>(source, k, most);
      }
      for (; i + lanes <= count; i += lanes) raise_each<from>(source, i, most);
    } else if (run % RawOf<from>::kLanes == 0) {
      const std::int64_t vectors = run / RawOf<from>::kLanes;
      for (; i + lanes * run <= count; i += lanes * run) {
        raise_cells<from>(source + i * kBytes, vectors, most + i / run);
      }
    }
    for (; i < count; i += run) {
      raise<from>(source + i * kBytes, run < count - i ? run : count - i, most + i / run,
                  behind(next, i * kBytes));
    }
  }
  static void magnitudes(DType from, const void* row, std::int64_t count, std::int64_t run,
                         std::int32_t* most, const void* next) noexcept {
    const auto* source = static_cast<const char*>(row);
    const auto* ahead = static_cast<const char*>(next);
    if (from == DType::float32) {
      return magnitudes_from<DType::float32>(source, count, run, most, ahead);
    }
    if (from == DType::bfloat16) {
      return magnitudes_from<DType::bfloat16>(source, count, run, most, ahead);
    }
    return magnitudes_from<DType::float16>(source, count, run, most, ahead);
  }

  // Elements as integers in the same order: -NaN, -inf, ..., -0, 0, ..., inf, NaN. Its own inverse.
  template <class Integers>
  static OCTAVO_INLINE Integers ordered(Integers bits) {
    using Integer = std::remove_cvref_t<decltype(bits[0])>;
    constexpr int kSign = std::numeric_limits<Integer>::digits;
    return bits ^ ((bits >> kSign) & std::numeric_limits<Integer>::max());
  }

  template <class Of>
  static OCTAVO_INLINE void stretch(typename Of::Vector x, typename Of::Vector& least,
                                    typename Of::Vector& last) {
    least = smaller(least, x);
    last = larger(last, x);
  }

  // Widens a range to that of a run, and raises its magnitude: in the elements' own width where all
  // are finite, which the ends of their order show.
  template <DType from>
  static OCTAVO_INLINE void widen(const char* source, std::int64_t count, float* low, float* high,
                                  std::int32_t* most) {
    using Of = RawOf<from>;
    using Vector = typename Of::Vector;
    std::int64_t bytes = count * octavo::element_bytes(from);
    if (bytes >= Of::kBytes) {
      const char* at = source;
      Vector least = ordered(vector_at<Vector>(at)), last = least;
      Vector other_least = least, other_last = least;
      for (; bytes >= 2 * Of::kBytes; bytes -= 2 * Of::kBytes, at += 2 * Of::kBytes) {
        stretch<Of>(ordered(vector_at<Vector>(at)), least, last);
        stretch<Of>(ordered(vector_at<Vector>(at + Of::kBytes)), other_least, other_last);
      }
      if (bytes >= Of::kBytes) stretch<Of>(ordered(vector_at<Vector>(at)), least, last);
      at += bytes - Of::kBytes;  // some of them once more
      stretch<Of>(ordered(vector_at<Vector>(at)), other_least, other_last);
      // Complements are in the opposite order.
      least = ~largest_lane<Of::kLanes / 2>(~smaller(least, other_least));
      last = largest_lane<Of::kLanes / 2>(larger(last, other_last));
      const Vector first = ordered(least), final = ordered(last);
      const Floats ends[] = {load<from>(reinterpret_cast<const char*>(&first)),
                             load<from>(reinterpret_cast<const char*>(&final))};
      const float begin = ends[0][0], end = ends[1][0];
      const std::int32_t front = std::bit_cast<std::int32_t>(begin) & 0x7FFFFFFF;
      const std::int32_t back = std::bit_cast<std::int32_t>(end) & 0x7FFFFFFF;
      const std::int32_t magnitude = front > back ? front : back;
      if (magnitude < 0x7F800000) {
        *low = begin < *low ? begin : *low;
        *high = end > *high ? end : *high;
        *most = magnitude > *most ? magnitude : *most;
        return;
      }
    }
    Range range;
    reduce_as<from>(source, count, range);
    range.result(*low, *high);
    raise<from>(source, count, most, nullptr);
  }

  template <DType from>
  static void ranges_from(const char* source, std::int64_t count, std::int64_t run, float* low,
                          float* high, std::int32_t* most) {
    constexpr std::int64_t kBytes = octavo::element_bytes(from);
    std::int64_t i = 0;
    if (run == 1) {
      for (; i + lanes <= count; i += lanes) {
        widen_each<from>(source, i, low, high);
        raise_each<from>(source, i, most);
      }
    }
    for (; i < count; i += run) {
      widen<from>(source + i * kBytes, run < count - i ? run : count - i, low + i / run,
                  high + i / run, most + i / run);
    }
  }
  static void ranges(DType from, const void* row, std::int64_t count, std::int64_t run, float* low,
                     float* high, std::int32_t* most) noexcept {
    const auto* source = static_cast<const char*>(row);
    if (from == DType::float32) {
      return ranges_from<DType::float32>(source, count, run, low, high, most);
    }
    if (from == DType::bfloat16) {
      return ranges_from<DType::bfloat16>(source, count, run, low, high, most);
    }
    return ranges_from<DType::float16>(source, count, run, low, high, most);
  }
};
#undef OCTAVO_INLINE
