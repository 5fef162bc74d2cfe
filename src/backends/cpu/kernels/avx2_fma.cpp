// SPDX-License-Identifier: Apache-2.0
// float32 by fused multiply-add on AVX2: sum[lane] = fma(a, b, sum[lane]), one product a lane and
// step. 12 registers of sums, two of B and one of A fit sixteen.
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <cstdlib>
#include <cstring>
#include <utility>

#include "backends/cpu/kernels/dot.hpp"
#include "backends/cpu/kernels/isa_region.hpp"

#if defined(__x86_64__)
namespace octavo::cpu {
namespace {

constexpr std::array<std::int64_t, kPanelVectors> kMaxRows{6, 2, 1, 1};
constexpr std::int64_t kWidth = 1;

OCTAVO_ISA_BEGIN("avx2,fma,f16c")
#include "backends/cpu/kernels/vec_avx2-inl.hpp"

#include "backends/cpu/kernels/float32_dot-inl.hpp"

#include "backends/cpu/kernels/decode_avx2-inl.hpp"
#include "backends/cpu/kernels/dot_tile-inl.hpp"
#include "backends/cpu/kernels/transpose_avx2-inl.hpp"

#include "backends/cpu/kernels/pack-inl.hpp"

void pack_rows(const float* rows, std::int64_t depth, std::int64_t vectors, void* panel) noexcept {
  for (std::int64_t v = 0; v < vectors; ++v) {
    char* out = static_cast<char*>(panel) + v * kFloat32Form.vector_bytes;
    for (std::int64_t k = 0; k < depth; ++k, rows += kVectorCols) {
      Vec::store(out, Vec::load_ints(rows));
      out += vectors * kFloat32Form.vector_bytes;
    }
  }
}

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
    // Of each lane the first ones, then the second ones; then those of both lanes.
    const __m256i order = _mm256_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15, 0,
                                           1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
    const __m256i halves = _mm256_permute4x64_epi64(_mm256_shuffle_epi8(pairs, order), 0xD8);
    _mm256_store_ps(first, _mm256_cvtph_ps(_mm256_castsi256_si128(halves)));
    _mm256_store_ps(second, _mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1)));
  }
};

#include "backends/cpu/kernels/pack_floats-inl.hpp"
OCTAVO_ISA_END

}  // namespace

extern const DotKernels kAvx2FmaDot{
    "6x16 tile, AVX2 FMA, float32 sums in ascending k",
    nullptr,
    kFloat32Form,
    kMaxRows,
    &find_dot_tile,
    &pack,
    &pack_rows,
    &decode_int8,
    &decode_float8,
    nullptr,
    kWidth,
};

}  // namespace octavo::cpu
#endif
