// SPDX-License-Identifier: Apache-2.0
// float32 by fused multiply-add on AVX2: sum[lane] = fma(a, b, sum[lane]), one product a lane and
// step. 12 registers of sums, two of B and one of A fit sixteen.
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>

#include "backends/cpu/kernels/isa_region.hpp"
#include "backends/cpu/kernels/tile_contract.hpp"

#if defined(__x86_64__)
namespace octavo::cpu {
namespace {

constexpr std::array<std::int64_t, kPanelVectors> kMaxRows{6, 2, 1, 1};
constexpr std::int64_t kWidth = 1;

OCTAVO_ISA_BEGIN("avx2,fma,f16c")
#include "backends/cpu/kernels/vec/vec_avx2-inl.hpp"

#include "backends/cpu/kernels/tile/float32_dot-inl.hpp"

#include "backends/cpu/kernels/panels/decode_avx2-inl.hpp"
#include "backends/cpu/kernels/tile/dot_tile-inl.hpp"
#include "backends/cpu/kernels/vec/transpose_avx2-inl.hpp"

#include "backends/cpu/kernels/panels/pack-inl.hpp"

void pack_rows(const float* rows, std::int64_t depth, std::int64_t vectors, void* panel) noexcept {
  for (std::int64_t v = 0; v < vectors; ++v) {
    char* out = static_cast<char*>(panel) + v * kFloat32Form.vector_bytes;
    for (std::int64_t k = 0; k < depth; ++k, rows += kVectorCols) {
      Vec::store(out, Vec::load_ints(rows));
      out += vectors * kFloat32Form.vector_bytes;
    }
  }
}

#include "backends/cpu/kernels/vec/halves_avx2-inl.hpp"

// Pairs of 16 bits.
struct BFloat16Pairs {
  static constexpr std::int64_t kSize = 2, kRows = 2;
  static constexpr bool kSums = false;
  OCTAVO_INLINE void put(char* out, std::int64_t row_bytes, const Vec::Ints& pairs) const {
    const __m256i upper = _mm256_set1_epi32(-0x10000);
    Vec::store(out, Vec::Ints{_mm256_slli_epi32(pairs.low, 16), _mm256_slli_epi32(pairs.high, 16)});
    Vec::store(out + row_bytes,
               Vec::Ints{_mm256_and_si256(pairs.low, upper), _mm256_and_si256(pairs.high, upper)});
  }
};
struct Float16Pairs {
  static constexpr std::int64_t kSize = 2, kRows = 2;
  static constexpr bool kSums = false;
  OCTAVO_INLINE void put(char* out, std::int64_t row_bytes, const Vec::Ints& pairs) const {
    put_half(reinterpret_cast<float*>(out), reinterpret_cast<float*>(out + row_bytes), pairs.low);
    put_half(reinterpret_cast<float*>(out) + 8, reinterpret_cast<float*>(out + row_bytes) + 8,
             pairs.high);
  }
  static OCTAVO_INLINE void put_half(float* first, float* second, __m256i pairs) {
    const __m256i halves = halves_apart(pairs);
    _mm256_store_ps(first, _mm256_cvtph_ps(_mm256_castsi256_si128(halves)));
    _mm256_store_ps(second, _mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1)));
  }
};

#include "backends/cpu/kernels/panels/pack_floats-inl.hpp"
#include "backends/cpu/kernels/panels/pairs_to_floats-inl.hpp"

#include "backends/cpu/kernels/unpacked/columns-inl.hpp"
#include "backends/cpu/kernels/unpacked/parts-inl.hpp"
#include "backends/cpu/kernels/unpacked/rows-inl.hpp"

struct FloatSource : WordSource {
  static constexpr int kLightRows = 16;
};
// Two elements of 16 bits of a column in a word: two steps.
struct Bf16Source {
  static constexpr int kSteps = 2;
  static constexpr int kLightRows = 10;
  using Transposed = TransposedSquare<32>;
  static OCTAVO_INLINE Vec::Ints load(const Dot&, const Vec::Ints& word) { return word; }
  template <int i>
  static OCTAVO_INLINE Vec::Ints step(const Dot&, const Vec::Ints& word) {
    const __m256i upper = _mm256_set1_epi32(-0x10000);
    if constexpr (i == 0) {
      return {_mm256_slli_epi32(word.low, 16), _mm256_slli_epi32(word.high, 16)};
    }
    return {_mm256_and_si256(word.low, upper), _mm256_and_si256(word.high, upper)};
  }
};
struct HalfSource {
  static constexpr int kSteps = 2;
  static constexpr int kLightRows = 0;
  using Transposed = TransposedSquare<16>;
  // Eight first halves, then eight second ones.
  static OCTAVO_INLINE Vec::Ints load(const Dot&, const Vec::Ints& word) {
    return {_mm256_permute4x64_epi64(word.low, 0xD8), _mm256_permute4x64_epi64(word.high, 0xD8)};
  }
  template <int i>
  static OCTAVO_INLINE Vec::Ints step(const Dot&, const Vec::Ints& halves) {
    const auto floats = [&](__m256i x) {
      return _mm256_castps_si256(_mm256_cvtph_ps(_mm256_extracti128_si256(x, i)));
    };
    return {floats(halves.low), floats(halves.high)};
  }
};
// Four numbers of 8 bits: four steps.
struct Int8Source {
  static constexpr int kSteps = 4;
  static constexpr int kLightRows = 0;
  using Transposed = TransposedSquare<32>;
  static OCTAVO_INLINE Vec::Ints load(const Dot&, const Vec::Ints& word) { return word; }
  template <int i>
  static OCTAVO_INLINE Vec::Ints step(const Dot&, const Vec::Ints& word) {
    const auto floats = [&](__m256i x) {
      const __m256i number = _mm256_srai_epi32(_mm256_slli_epi32(x, 24 - 8 * i), 24);
      return _mm256_castps_si256(_mm256_cvtepi32_ps(number));
    };
    return {floats(word.low), floats(word.high)};
  }
};

#include "backends/cpu/kernels/unpacked/element_lines-inl.hpp"

OCTAVO_INLINE __m128i eight_halves(const char* b) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(b));
}
OCTAVO_INLINE Vec::Ints bits_of(__m256 low, __m256 high) {
  return {_mm256_castps_si256(low), _mm256_castps_si256(high)};
}
template <int vectors>
struct Bf16Lines : ElementLines<vectors, 2> {
  static constexpr bool kOrdered = false;
  template <int v>
  static OCTAVO_INLINE Vec::Ints step(const Dot&, const char* b) {
    const __m256i zero = _mm256_setzero_si256();
    const __m256i row = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b + 32 * v));
    return {_mm256_unpacklo_epi16(zero, row), _mm256_unpackhi_epi16(zero, row)};
  }
};
template <int vectors>
struct HalfLines : ElementLines<vectors, 2> {
  template <int v>
  static OCTAVO_INLINE Vec::Ints step(const Dot&, const char* b) {
    return bits_of(_mm256_cvtph_ps(eight_halves(b + 32 * v)),
                   _mm256_cvtph_ps(eight_halves(b + 32 * v + 16)));
  }
};
template <int vectors>
struct Int8Lines : ElementLines<vectors, 1> {
  template <int v>
  static OCTAVO_INLINE Vec::Ints step(const Dot&, const char* b) {
    const auto floats = [&](const char* at) {
      const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(at));
      return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
    };
    return bits_of(floats(b + 16 * v), floats(b + 16 * v + 8));
  }
};

template <class Source, class LinesOf>
UnpackedKernel find_either(const UnpackedWanted& wanted) noexcept {
  return wanted.order == UnpackedOrder::along_k ? find_unpacked_transposed<Source>(wanted)
                                                : find_unpacked_rows<LinesOf>(wanted.rows);
}

UnpackedKernel find_unpacked(const UnpackedWanted& wanted) noexcept {
  switch (wanted.weight) {
    case DType::float32:
      return find_either<FloatSource, FewerVectors<FloatLines, 1, 16>>(wanted);
    case DType::float16:
      return find_either<HalfSource, FewerVectors<HalfLines, 2, 16>>(wanted);
    case DType::bfloat16:
      return find_either<Bf16Source, FewerVectors<Bf16Lines, 2, 16>>(wanted);
    case DType::int8:
      return find_either<Int8Source, FewerVectors<Int8Lines, 4, 16>>(wanted);
    default:
      return nullptr;
  }
}
OCTAVO_ISA_END

}  // namespace

extern const DotKernels kAvx2FmaDot{
    .how = "6x16 tile, AVX2 FMA, float32 sums in ascending k",
    .how_unpacked = "few rows, AVX2 FMA, float32 sums in ascending k",
    .form = kFloat32Form,
    .max_rows = kMaxRows,
    .tile = &find_dot_tile,
    .pack = &pack,
    .pack_rows = &pack_rows,
    .decode_int8 = &decode_int8,
    .decode_float8 = &decode_float8,
    .unpacked = &find_unpacked,
    .width = kWidth,
    .from_pairs = &from_pairs,
};

}  // namespace octavo::cpu
#endif
