// SPDX-License-Identifier: Apache-2.0
// float32 by fused multiply-add: sum[lane] = fma(a, b, sum[lane]), one product a lane and step.
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

constexpr std::array<std::int64_t, kPanelVectors> kMaxRows{8, 12, 4, 6};
constexpr std::int64_t kWidth = kPanelVectors;

OCTAVO_ISA_BEGIN("avx512f,avx512bw")
#include "backends/cpu/kernels/vec/vec_avx512-inl.hpp"

#include "backends/cpu/kernels/tile/float32_dot-inl.hpp"

#include "backends/cpu/kernels/tile/dot_tile-inl.hpp"

void pack_rows(const float* rows, std::int64_t depth, std::int64_t vectors, void* panel) noexcept {
  for (std::int64_t v = 0; v < vectors; ++v) {
    char* out = static_cast<char*>(panel) + v * kFloat32Form.vector_bytes;
    for (std::int64_t k = 0; k < depth; ++k, rows += kVectorCols) {
      _mm512_store_si512(out, _mm512_load_si512(rows));
      out += vectors * kFloat32Form.vector_bytes;
    }
  }
}

struct Decoded {
  static constexpr std::int64_t kPairRows = 2;
  static void store_pairs(char* out, std::int64_t row_bytes, __m512i words) {
    _mm512_store_si512(out, _mm512_slli_epi32(words, 16));
    _mm512_store_si512(out + row_bytes, _mm512_and_si512(words, _mm512_set1_epi32(-0x10000)));
  }
  static void store_numbers(char* out, std::int64_t row_bytes, const __m512i (&x)[4]) {
    for (int i = 0; i < 4; ++i, out += row_bytes) _mm512_store_ps(out, _mm512_cvtepi32_ps(x[i]));
  }
};
#include "backends/cpu/kernels/panels/decode_avx512-inl.hpp"
#include "backends/cpu/kernels/vec/transpose_avx512-inl.hpp"

#include "backends/cpu/kernels/panels/pack-inl.hpp"

// Pairs of 16 bits.
struct BFloat16Pairs {
  static constexpr std::int64_t kSize = 2, kRows = 2;
  static constexpr bool kSums = false;
  OCTAVO_INLINE void put(char* out, std::int64_t row_bytes, __m512i pairs) const {
    Decoded::store_pairs(out, row_bytes, pairs);
  }
};
struct Float16Pairs {
  static constexpr std::int64_t kSize = 2, kRows = 2;
  static constexpr bool kSums = false;
  OCTAVO_INLINE void put(char* out, std::int64_t row_bytes, __m512i pairs) const {
    _mm512_store_ps(out, _mm512_cvtph_ps(_mm512_cvtepi32_epi16(pairs)));
    _mm512_store_ps(out + row_bytes,
                    _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(pairs, 16))));
  }
};

#include "backends/cpu/kernels/panels/pack_floats-inl.hpp"
#include "backends/cpu/kernels/panels/pairs_to_floats-inl.hpp"

#include "backends/cpu/kernels/unpacked/columns-inl.hpp"
#include "backends/cpu/kernels/unpacked/rows-inl.hpp"

// Two elements of 16 bits of a column in a word: two steps.
struct PairOfFloats {
  __m512i first, second;
};
struct PairSource {
  static constexpr int kSteps = 2;
  template <int i>
  static __m512i step(const Dot&, const PairOfFloats& pair) {
    return i == 0 ? pair.first : pair.second;
  }
};
struct Bf16Source : PairSource {
  using Transposed = TransposedSquare<32>;
  static PairOfFloats load(const Dot&, __m512i word) {
    return {_mm512_slli_epi32(word, 16), _mm512_and_si512(word, _mm512_set1_epi32(-0x10000))};
  }
};
// vcvtph2ps takes 16 neighbours: the first halves of all columns, then the second ones.
struct HalfSource : PairSource {
  using Transposed = TransposedSquare<16>;
  static PairOfFloats load(const Dot&, __m512i word) {
    const __m512i halves = _mm512_permutexvar_epi64(_mm512_set_epi64(7, 5, 3, 1, 6, 4, 2, 0), word);
    return {_mm512_castps_si512(_mm512_cvtph_ps(_mm512_castsi512_si256(halves))),
            _mm512_castps_si512(_mm512_cvtph_ps(_mm512_extracti64x4_epi64(halves, 1)))};
  }
};

// A row of 16 float32, or of 32 elements of 16 bits.
struct FloatLines {
  static constexpr int kRows = 1, kVectors = 1, kBytes = 64;
  static constexpr bool kOrdered = true;
  static OCTAVO_INLINE const char* load(const Dot&, const char* b, std::int64_t) { return b; }
  template <int>
  static OCTAVO_INLINE __m512i step(const Dot&, const char* b) {
    return Vec::load_unaligned_ints(b);
  }
};
struct Bf16Lines {
  static constexpr int kRows = 1, kVectors = 2, kBytes = 64;
  static constexpr bool kOrdered = false;
  static OCTAVO_INLINE __m512i load(const Dot&, const char* b, std::int64_t) {
    return Vec::load_unaligned_ints(b);
  }
  template <int v>
  static OCTAVO_INLINE __m512i step(const Dot&, __m512i row) {
    const __m512i zero = _mm512_setzero_si512();
    return v == 0 ? _mm512_unpacklo_epi16(zero, row) : _mm512_unpackhi_epi16(zero, row);
  }
};
struct HalfLines {
  static constexpr int kRows = 1, kVectors = 2, kBytes = 64;
  static constexpr bool kOrdered = true;
  static OCTAVO_INLINE const char* load(const Dot&, const char* b, std::int64_t) { return b; }
  template <int v>
  static OCTAVO_INLINE __m512i step(const Dot&, const char* b) {
    const auto halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b + 32 * v));
    return _mm512_castps_si512(_mm512_cvtph_ps(halves));
  }
};

template <class Source, class Lines>
UnpackedKernel find_either(const UnpackedWanted& wanted) noexcept {
  return wanted.order == UnpackedOrder::along_k
             ? find_unpacked_columns<Source>(wanted)
             : find_unpacked_rows<AnyRows<Lines, 8, 8>>(wanted.rows);
}

UnpackedKernel find_unpacked(const UnpackedWanted& wanted) noexcept {
  switch (wanted.weight) {
    case DType::float32:
      return find_either<WordSource, FloatLines>(wanted);
    case DType::float16:
      return find_either<HalfSource, HalfLines>(wanted);
    case DType::bfloat16:
      return find_either<Bf16Source, Bf16Lines>(wanted);
    default:
      return nullptr;
  }
}
OCTAVO_ISA_END

}  // namespace

extern const DotKernels kAvx512FmaDot{
    .how = "6x64 tile, AVX-512 FMA, float32 sums in ascending k",
    .how_unpacked = "few rows, AVX-512 FMA, float32 sums in ascending k",
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
