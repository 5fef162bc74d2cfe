// SPDX-License-Identifier: Apache-2.0
// Blocks of a row times a normalised Hadamard matrix (specification section 6):
//
//   s = (x[0] + x[1]) + (x[2] + x[3]),  y[i] = (0.5 * s) - x[3 - i]     at strides 1, 4, 16, 64
//
// Sums of two commute, so lanes are exchanged within a vector, and all of the first three stages
// stay in registers: 64 elements a step. Those of stride 64 go through the output.
//
// Needs: put_vector, Statistics, vector_at
// Gives: Rotation

#define OCTAVO_INLINE inline __attribute__((always_inline))

template <int lanes>
struct Rotation : Statistics<lanes> {
  using Base = Statistics<lanes>;
  using Base::choose;
  using Base::floats;
  using Base::words;
  using typename Base::DType;
  using typename Base::Floats;

  static constexpr int kFours = 16 / lanes;  // vectors of four rows of four
  static constexpr int kStep = 64;           // elements that registers hold

  template <int mask, std::size_t... i>
  static OCTAVO_INLINE Floats exchanged(Floats x, std::index_sequence<i...>) {
    return __builtin_shufflevector(x, x, (static_cast<int>(i) ^ mask)...);
  }
  // Lane i becomes lane i ^ mask.
  template <int mask>
  static OCTAVO_INLINE Floats exchanged(Floats x) {
    return exchanged<mask>(x, std::make_index_sequence<static_cast<std::size_t>(lanes)>());
  }

  static OCTAVO_INLINE Floats less(Floats s, Floats x) { return 0.5F * s - x; }
  static OCTAVO_INLINE void stage(Floats& a, Floats& b, Floats& c, Floats& d) {
    const Floats s = (a + b) + (c + d);
    const Floats first = a, second = b;
    a = less(s, d);
    b = less(s, c);
    c = less(s, second);
    d = less(s, first);
  }

  // Stride 1.
  static OCTAVO_INLINE Floats neighbours(Floats x) {
    const Floats pairs = x + exchanged<1>(x);
    return less(pairs + exchanged<2>(pairs), exchanged<3>(x));
  }
  // Stride 4, of sixteen elements.
  static OCTAVO_INLINE void fours(Floats* x) {
    if constexpr (lanes == 4) {
      stage(x[0], x[1], x[2], x[3]);
    } else if constexpr (lanes == 8) {
      const Floats first = exchanged<4>(x[0]), second = exchanged<4>(x[1]);
      const Floats s = (x[0] + first) + (x[1] + second);
      x[0] = less(s, second);
      x[1] = less(s, first);
    } else {
      const Floats pairs = x[0] + exchanged<4>(x[0]);
      x[0] = less(pairs + exchanged<8>(pairs), exchanged<12>(x[0]));
    }
  }

  static OCTAVO_INLINE Floats quiet(Floats y) {
    return floats(choose(y == y, words(y), typename Base::Words{} + 0x7FC00000U));
  }

  // Sixteen elements, or 64 with stride 16.
  template <DType from, int elements, bool last>
  static OCTAVO_INLINE void part(const char* source, float* out) {
    constexpr int kVectors = elements / lanes;
    Floats x[kVectors];
#pragma GCC unroll 16
    for (int j = 0; j < kVectors; ++j) {
      x[j] =
          neighbours(Base::template load<from>(source + j * lanes * octavo::element_bytes(from)));
    }
#pragma GCC unroll 16
    for (int j = 0; j < kVectors; j += kFours) fours(x + j);
    if constexpr (elements == kStep) {
#pragma GCC unroll 16
      for (int j = 0; j < kFours; ++j) {
        stage(x[j], x[kFours + j], x[2 * kFours + j], x[3 * kFours + j]);
      }
    }
#pragma GCC unroll 16
    for (int j = 0; j < kVectors; ++j) put_vector(last ? quiet(x[j]) : x[j], out + j * lanes);
  }

  template <DType from, int elements, bool last>
  static void parts(const char* source, std::int64_t count, float* out) {
    for (std::int64_t i = 0; i < count; i += elements) {
      part<from, elements, last>(source + i * octavo::element_bytes(from), out + i);
    }
  }

  // Stride 64, of 256 elements.
  static OCTAVO_INLINE void rows_of_64(float* out) {
    for (std::int64_t i = 0; i < kStep; i += lanes) {
      Floats x[4];
      for (int j = 0; j < 4; ++j) x[j] = vector_at<Floats>(out + i + j * kStep);
      stage(x[0], x[1], x[2], x[3]);
      for (int j = 0; j < 4; ++j) put_vector(quiet(x[j]), out + i + j * kStep);
    }
  }

  template <DType from>
  static void blocks(const char* source, std::int64_t count, std::int64_t block, float* out) {
    constexpr std::int64_t kLargest = 256;
    if (block == 16) return parts<from, 16, true>(source, count, out);
    if (block == kStep) return parts<from, kStep, true>(source, count, out);
    for (std::int64_t i = 0; i < count; i += kLargest) {
      parts<from, kStep, false>(source + i * octavo::element_bytes(from), kLargest, out + i);
      rows_of_64(out + i);
    }
  }
  static void run(DType from, const void* row, std::int64_t count, std::int64_t block,
                  float* out) noexcept {
    const auto* source = static_cast<const char*>(row);
    if (from == DType::float32) return blocks<DType::float32>(source, count, block, out);
    if (from == DType::bfloat16) return blocks<DType::bfloat16>(source, count, block, out);
    return blocks<DType::float16>(source, count, block, out);
  }
};
#undef OCTAVO_INLINE
