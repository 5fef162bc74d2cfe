// SPDX-License-Identifier: Apache-2.0
// From sums to output elements, in vectors of any width. Included after rows-inl.hpp inside an
// instruction-set region; every including file gets its own copy.
//
// The file that includes this defines, for its width, what compilers do not find by themselves:
//   any_nan(x)                  whether a lane is NaN
//   put_high_halves(a, b, out)  the upper 16 bits of the lanes of two vectors, one after the other
//
// Four vectors of each row stay in registers from the sum to the store, whatever the steps are;
// they are named by constants only, or they would live on the stack. Vector v belongs to row v / 4.

constexpr std::size_t kRowVectors = 4;

template <int lanes, std::size_t... v>
struct FinishRows {
  using Tile = octavo::cpu::FinishTile;
  using Floats = Lanes<float, lanes>;
  using Ints = Lanes<std::int32_t, lanes>;
  using Words = Lanes<std::uint32_t, lanes>;
  static constexpr std::size_t kRows = sizeof...(v) / kRowVectors;
  static constexpr auto kCols = static_cast<std::size_t>(octavo::cpu::kTileCols);

  template <class Vector, class Pointer>
  static inline __attribute__((always_inline)) Vector load(Pointer p) {
    return *reinterpret_cast<const Vector*>(p);
  }
  static constexpr std::size_t row(std::size_t n) { return n / kRowVectors; }
  static constexpr std::size_t col(std::size_t n) { return n % kRowVectors * lanes; }

  // encode<kBFloat16>, the upper half: to nearest even; a NaN becomes the quiet one of its sign.
  static inline __attribute__((always_inline)) Words round_bfloat16(Floats x) {
    const Words bits = reinterpret_cast<const Words&>(x);
    return bits + 0x7FFFU + ((bits >> 16) & 1U);
  }
  static inline __attribute__((always_inline)) Words quiet_bfloat16(Floats x) {
    const Words bits = reinterpret_cast<const Words&>(x);
    const Words is_nan = (bits & 0x7FFFFFFFU) > 0x7F800000U;
    const Words quiet = (bits & 0x80000000U) | 0x7FC00000U;
    return (round_bfloat16(x) & ~is_nan) | (quiet & is_nan);
  }

  static inline __attribute__((always_inline)) void put_bfloat16(const Floats (&x)[sizeof...(v)],
                                                                 char* out, std::int64_t bytes) {
    const auto place = [&](std::size_t n) {
      return out + static_cast<std::int64_t>(row(n)) * bytes + col(n) * 2;
    };
    const auto put = [&](std::size_t n, Words low, Words high) {
      if (n % 2 == 0) put_high_halves(low, high, place(n));
    };
    // A NaN among them shows in their sum.
    if (Floats sum = (x[v] + ...); !any_nan(sum)) {
      (put(v, round_bfloat16(x[v]), round_bfloat16(x[v | 1])), ...);
    } else {
      (put(v, quiet_bfloat16(x[v]), quiet_bfloat16(x[v | 1])), ...);
    }
  }

  // Rows from r on, columns [column, column + 4 lanes).
  template <bool from_integers>
  static inline __attribute__((always_inline)) void run(const Tile& t, std::int64_t r,
                                                        std::int64_t column) {
    using octavo::cpu::FinishStep;
    const std::int64_t bytes = t.row_bytes;
    char* out = static_cast<char*>(t.out) + r * bytes;
    Floats x[sizeof...(v)];
    if constexpr (from_integers) {
      const std::int32_t* sums = t.integers + r * octavo::cpu::kTileCols + column;
      const Ints whole[] = {load<Ints>(sums + row(v) * kCols + col(v))...};
      if (t.dtype == octavo::DType::int32) {
        out += column * 4;
        ((*reinterpret_cast<Ints*>(out + static_cast<std::int64_t>(row(v)) * bytes + col(v) * 4) =
              whole[v]),
         ...);
        return;
      }
      ((x[v] = __builtin_convertvector(whole[v], Floats)), ...);
    } else {
      const float* sums = t.floats + r * octavo::cpu::kTileCols + column;
      ((x[v] = load<Floats>(sums + row(v) * kCols + col(v))), ...);
    }
    for (const FinishStep& step : t.steps) {
      const std::int64_t stride = step.stride;
      const float* data = step.data + r * stride;
      const auto element = [&](std::size_t n) {
        return load<Floats>(data + static_cast<std::int64_t>(row(n)) * stride + column + col(n));
      };
      switch (step.kind) {
        case FinishStep::Kind::scale_row:
          ((x[v] *= data[static_cast<std::int64_t>(row(v)) * stride]), ...);
          break;
        case FinishStep::Kind::scale_elements:
          ((x[v] *= element(v)), ...);
          break;
        default:
          ((x[v] += element(v)), ...);
      }
    }
    if (t.dtype == octavo::DType::bfloat16) return put_bfloat16(x, out + column * 2, bytes);
    if (t.dtype == octavo::DType::float32) {
      out += column * 4;
      ((*reinterpret_cast<Floats*>(out + static_cast<std::int64_t>(row(v)) * bytes + col(v) * 4) =
            x[v]),
       ...);
      return;
    }
    constexpr std::int64_t kCount = std::int64_t{kRowVectors} * lanes;
    alignas(64) float floats[sizeof...(v) * lanes];
    ((*reinterpret_cast<Floats*>(floats + v * lanes) = x[v]), ...);
    out += column * octavo::element_bytes(t.dtype);
    for (std::int64_t i = 0; i < std::int64_t{kRows}; ++i) {
      narrow_row(t.dtype, floats + i * kCount, kCount, out + i * bytes, t.overflow);
    }
  }
};

template <int lanes, bool from_integers>
void finish_all(const octavo::cpu::FinishTile& t) noexcept {
  constexpr std::int64_t kStepCols = std::int64_t{kRowVectors} * lanes;
  std::int64_t r = 0;
  // Two rows at a time where there are registers for eight vectors.
  if constexpr (lanes == 16) {
    for (; r + 2 <= t.rows; r += 2) {
      FinishRows<lanes, 0, 1, 2, 3, 4, 5, 6, 7>::template run<from_integers>(t, r, 0);
    }
  }
  for (; r < t.rows; ++r) {
    for (std::int64_t column = 0; column < octavo::cpu::kTileCols; column += kStepCols) {
      FinishRows<lanes, 0, 1, 2, 3>::template run<from_integers>(t, r, column);
    }
  }
}

template <int lanes>
void finish(const octavo::cpu::FinishTile& t) noexcept {
  return t.floats != nullptr ? finish_all<lanes, false>(t) : finish_all<lanes, true>(t);
}
