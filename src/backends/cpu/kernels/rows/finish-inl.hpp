// SPDX-License-Identifier: Apache-2.0
// From sums to output elements (specification section 3), rows of 64 columns:
//
//   t = float(sum); for each step: t = t * factor[r]  |  t = t * x[r][j]  |  t = t + x[r][j]
//   out[r][j] = cast(t)
//
// each step rounded, in vectors of any width.
//
// What compilers do not find by themselves, for the width at hand:
//   high_halves(a, b)      the upper 16 bits of the lanes of two vectors, one after the other
//   unpacked_bfloat16(x)   whether bfloat16s rounds four vectors as encode<kBFloat16> does; false
//                          for few: at least for those that hold a NaN
//   bfloat16s(a, b)        two vectors, one after the other
//   stream(bytes, out)     a vector to its own alignment, past the caches
//
// Four vectors of a row stay in registers from the sum to the store, whatever the steps are; they
// are named by constants only, or they would live on the stack.
//
// Needs: bfloat16s, high_halves, Lanes, narrow_row, put_vector, round_bfloat16, stream,
//        unpacked_bfloat16, vector_at
// Gives: finish

// The loops over rows know what they store, or constants would not stay in registers.
enum class Out { bfloat16, float32, other };

template <int lanes, std::size_t... v>
struct FinishRow {
  using Tile = octavo::cpu::FinishTile;
  using Step = octavo::cpu::FinishStep;
  using Floats = Lanes<float, lanes>;
  using Ints = Lanes<std::int32_t, lanes>;
  using Words = Lanes<std::uint32_t, lanes>;
  using Row = Floats[sizeof...(v)];
  static constexpr std::int64_t kCols = octavo::cpu::kTileCols;
  using Bytes = Lanes<std::uint8_t, sizeof(Floats)>;
  static constexpr std::int64_t kCount = sizeof...(v) * lanes;

#define OCTAVO_FINISH static inline __attribute__((always_inline))
  OCTAVO_FINISH Floats load(const float* p) { return vector_at<Floats>(p); }
  OCTAVO_FINISH Ints load(const std::int32_t* p) { return vector_at<Ints>(p); }

  // encode<kBFloat16>, in the upper half: to nearest even, a NaN the quiet one of its sign.
  OCTAVO_FINISH Words quiet_bfloat16(Floats x) {
    const Words bits = reinterpret_cast<Words>(x);
    const Words is_nan = (bits & 0x7FFFFFFFU) > 0x7F800000U;
    const Words quiet = (bits & 0x80000000U) | 0x7FC00000U;
    return (round_bfloat16(bits) & ~is_nan) | (quiet & is_nan);
  }
  OCTAVO_FINISH void stream_row(const void* row, std::int64_t bytes, char* out) {
    const auto* first = static_cast<const char*>(row);
    for (std::int64_t i = 0; i < bytes; i += std::int64_t{sizeof(Bytes)}) {
      stream(vector_at<Bytes>(first + i), out + i);
    }
  }
  template <bool streamed>
  OCTAVO_FINISH void put_bytes_of(Bytes bytes, char* out) {
    if constexpr (streamed) return stream(bytes, out);
    put_vector(bytes, out);
  }
  template <bool streamed>
  OCTAVO_FINISH void put_bfloat16(const Row& x, char* out) {
    const bool unpacked = unpacked_bfloat16(x);
    const auto put = [&](std::size_t n) {
      if (n % 2 != 0) return;
      const Bytes pair = unpacked ? bfloat16s(x[n], x[n | 1])
                                  : high_halves(quiet_bfloat16(x[n]), quiet_bfloat16(x[n | 1]));
      put_bytes_of<streamed>(pair, out + n * lanes * 2);
    };
    (put(v), ...);
  }
  template <bool streamed>
  OCTAVO_FINISH void put_float32(const Row& x, char* out) {
    (put_bytes_of<streamed>(reinterpret_cast<const Bytes&>(x[v]), out + v * sizeof(Floats)), ...);
  }
  template <Out out_kind, bool streamed>
  OCTAVO_FINISH void put(const Tile& t, const Row& x, std::int64_t r, std::int64_t column) {
    char* out =
        static_cast<char*>(t.out) + r * t.row_bytes + column * octavo::element_bytes(t.dtype);
    if constexpr (out_kind == Out::bfloat16) {
      put_bfloat16<streamed>(x, out);
    } else if constexpr (out_kind == Out::float32) {
      put_float32<streamed>(x, out);
    } else {
      alignas(64) float floats[kCount];
      (put_vector(x[v], floats + v * lanes), ...);
      if constexpr (!streamed) return narrow_row(t.dtype, floats, kCount, out, t.overflow);
      alignas(64) char narrowed[kCount * sizeof(float)];
      narrow_row(t.dtype, floats, kCount, narrowed, t.overflow);
      stream_row(narrowed, kCount * octavo::element_bytes(t.dtype), out);
    }
  }

  template <bool from_integers>
  OCTAVO_FINISH void sums(const Tile& t, Row& x, std::int64_t r, std::int64_t column) {
    const std::int64_t first = r * kCols + column;
    if constexpr (from_integers) {
      ((x[v] = __builtin_convertvector(load(t.integers + first + v * lanes), Floats)), ...);
    } else {
      ((x[v] = load(t.floats + first + v * lanes)), ...);
    }
  }

  // Any steps, one row.
  template <bool from_integers, Out out_kind, bool streamed>
  OCTAVO_FINISH void run(const Tile& t, std::int64_t r, std::int64_t column) {
    alignas(64) Row x;  // an array of vectors forgets that they take any address
    sums<from_integers>(t, x, r, column);
    for (const Step& step : t.steps) {
      const float* data = step.data + r * step.stride;
      switch (step.kind) {
        case Step::Kind::scale_row:
          ((x[v] *= *data), ...);
          break;
        case Step::Kind::scale_elements:
          ((x[v] *= load(data + column + v * lanes)), ...);
          break;
        default:
          ((x[v] += load(data + column + v * lanes)), ...);
      }
    }
    put<out_kind, streamed>(t, x, r, column);
  }

  // A factor for the row, one for each column and perhaps a bias: columns stay in registers, no
  // step is looked up.
  template <bool from_integers, Out out_kind, bool streamed, bool bias>
  OCTAVO_FINISH void run_usual(const Tile& t) {
    const Step& row = t.steps[0];
    const float* columns = t.steps[1].data;
    const float* added = bias ? t.steps[2].data : columns;
    alignas(64) const Row factor = {load(columns + v * lanes)...};
    alignas(64) const Row addend = {load(added + v * lanes)...};
    for (std::int64_t r = 0; r < t.rows; ++r) {
      alignas(64) Row x;
      sums<from_integers>(t, x, r, 0);
      const float scale = row.data[r * row.stride];
      ((x[v] *= scale), ...);
      ((x[v] *= factor[v]), ...);
      if constexpr (bias) ((x[v] += addend[v]), ...);
      put<out_kind, streamed>(t, x, r, 0);
    }
  }
#undef OCTAVO_FINISH
};

// Whether the steps are scale_a, scale_b and perhaps a bias.
inline bool usual_steps(const octavo::cpu::FinishTile& t) {
  using Kind = octavo::cpu::FinishStep::Kind;
  const auto is = [&](std::size_t i, Kind kind, bool by_row) {
    return t.steps[i].kind == kind && (by_row || t.steps[i].stride == 0);
  };
  const std::size_t count = t.steps.size();
  return (count == 2 || count == 3) && is(0, Kind::scale_row, true) &&
         is(1, Kind::scale_elements, false) && (count == 2 || is(2, Kind::add_elements, false));
}

template <int lanes, bool from_integers, Out out_kind, bool streamed>
void finish_all(const octavo::cpu::FinishTile& t) noexcept {
  using FourVectors = FinishRow<lanes, 0, 1, 2, 3>;
  if constexpr (FourVectors::kCount == octavo::cpu::kTileCols) {
    if (usual_steps(t)) {
      return t.steps.size() == 3
                 ? FourVectors::template run_usual<from_integers, out_kind, streamed, true>(t)
                 : FourVectors::template run_usual<from_integers, out_kind, streamed, false>(t);
    }
  }
  for (std::int64_t r = 0; r < t.rows; ++r) {
    for (std::int64_t column = 0; column < octavo::cpu::kTileCols; column += FourVectors::kCount) {
      FourVectors::template run<from_integers, out_kind, streamed>(t, r, column);
    }
  }
}

template <int lanes, bool from_integers, bool streamed>
void finish_to(const octavo::cpu::FinishTile& t) noexcept {
  using octavo::DType;
  if (t.dtype == DType::bfloat16) {
    return finish_all<lanes, from_integers, Out::bfloat16, streamed>(t);
  }
  if (t.dtype == DType::float32) return finish_all<lanes, from_integers, Out::float32, streamed>(t);
  return finish_all<lanes, from_integers, Out::other, streamed>(t);
}

template <int lanes>
void copy_integers(const octavo::cpu::FinishTile& t) noexcept {
  constexpr std::int64_t kBytes = octavo::cpu::kTileCols * std::int64_t{sizeof(std::int32_t)};
  for (std::int64_t r = 0; r < t.rows; ++r) {
    const std::int32_t* sums = t.integers + r * octavo::cpu::kTileCols;
    char* out = static_cast<char*>(t.out) + r * t.row_bytes;
    if (t.streamed) {
      FinishRow<lanes, 0>::stream_row(sums, kBytes, out);
    } else {
      std::memcpy(out, sums, kBytes);
    }
  }
}

template <int lanes>
void finish(const octavo::cpu::FinishTile& t) noexcept {
  if (t.dtype == octavo::DType::int32) return copy_integers<lanes>(t);
  if (t.streamed) {
    return t.floats != nullptr ? finish_to<lanes, false, true>(t) : finish_to<lanes, true, true>(t);
  }
  return t.floats != nullptr ? finish_to<lanes, false, false>(t) : finish_to<lanes, true, false>(t);
}
