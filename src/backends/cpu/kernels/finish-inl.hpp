// SPDX-License-Identifier: Apache-2.0
// From sums to output elements, in vectors of any width. Included after rows-inl.hpp inside an
// instruction-set region; every including file gets its own copy.
//
// The file that includes this defines `low_halves`, 32-bit lanes cut to 16 bits: compilers do not
// find the instruction.
//
// Four vectors of a row stay in registers from the sum to the store, whatever the steps are; they
// are named by constants only, or they would live on the stack.

template <int lanes, std::size_t... v>
struct FinishRow {
  using Floats = Lanes<float, lanes>;
  using Ints = Lanes<std::int32_t, lanes>;
  using Words = Lanes<std::uint32_t, lanes>;
  using Halves = Lanes<std::uint16_t, lanes>;

  template <class Vector, class Pointer>
  static inline __attribute__((always_inline)) Vector load(Pointer p) {
    return *reinterpret_cast<const Vector*>(p);
  }

  // bfloat16, as encode<kBFloat16>: to nearest even, a NaN becomes the quiet one of its sign.
  static inline __attribute__((always_inline)) Halves to_bfloat16(Floats x) {
    const Words bits = reinterpret_cast<const Words&>(x);
    const Words rounded = bits + (0x7FFFU + ((bits >> 16) & 1U));
    const Words quiet = (bits & 0x80000000U) | 0x7FC00000U;
    const Words is_nan = (bits & 0x7FFFFFFFU) > 0x7F800000U;
    return low_halves(((rounded & ~is_nan) | (quiet & is_nan)) >> 16);
  }

  template <bool from_integers>
  static inline __attribute__((always_inline)) void run(const octavo::cpu::FinishTile& t,
                                                        std::int64_t r, std::int64_t column) {
    using octavo::cpu::FinishStep;
    constexpr std::int64_t kCols = octavo::cpu::kTileCols;
    Ints whole[sizeof...(v)];
    Floats x[sizeof...(v)];
    if constexpr (from_integers) {
      const std::int32_t shift = t.shift[r];
      const std::int32_t* sums = t.integers + r * kCols + column;
      ((whole[v] =
            load<Ints>(sums + v * lanes) - load<Ints>(t.column_sums + column + v * lanes) * shift),
       ...);
      if (t.dtype == octavo::DType::int32) {
        auto* out = static_cast<char*>(t.out) + r * t.row_bytes + column * 4;
        ((*reinterpret_cast<Ints*>(out + v * sizeof(Ints)) = whole[v]), ...);
        return;
      }
      ((x[v] = __builtin_convertvector(whole[v], Floats)), ...);
    } else {
      ((x[v] = load<Floats>(t.floats + r * kCols + column + v * lanes)), ...);
    }
    for (const FinishStep& step : t.steps) {
      const float* data = step.data + r * step.stride;
      switch (step.kind) {
        case FinishStep::Kind::scale_row:
          ((x[v] *= *data), ...);
          break;
        case FinishStep::Kind::scale_elements:
          ((x[v] *= load<Floats>(data + column + v * lanes)), ...);
          break;
        default:
          ((x[v] += load<Floats>(data + column + v * lanes)), ...);
      }
    }
    auto* out = static_cast<char*>(t.out) + r * t.row_bytes;
    if (t.dtype == octavo::DType::bfloat16) {
      out += column * 2;
      ((*reinterpret_cast<Halves*>(out + v * sizeof(Halves)) = to_bfloat16(x[v])), ...);
    } else if (t.dtype == octavo::DType::float32) {
      out += column * 4;
      ((*reinterpret_cast<Floats*>(out + v * sizeof(Floats)) = x[v]), ...);
    } else {
      alignas(64) float row[sizeof...(v) * lanes];
      ((*reinterpret_cast<Floats*>(row + v * lanes) = x[v]), ...);
      const std::int64_t bytes = octavo::element_bytes(t.dtype);
      narrow_row(t.dtype, row, sizeof...(v) * lanes, out + column * bytes, t.overflow);
    }
  }
};

template <int lanes, bool from_integers>
void finish_all(const octavo::cpu::FinishTile& t) noexcept {
  for (std::int64_t r = 0; r < t.rows; ++r) {
    for (std::int64_t column = 0; column < octavo::cpu::kTileCols; column += 4 * lanes) {
      FinishRow<lanes, 0, 1, 2, 3>::template run<from_integers>(t, r, column);
    }
  }
}

template <int lanes>
void finish(const octavo::cpu::FinishTile& t) noexcept {
  return t.floats != nullptr ? finish_all<lanes, false>(t) : finish_all<lanes, true>(t);
}
