// SPDX-License-Identifier: Apache-2.0
// float32 by fused multiply-add: sum[lane] = fma(a, b, sum[lane]), one product a lane and step.
#include <immintrin.h>

#include <cstring>
#include <utility>

#include "backends/cpu/kernels/dot.hpp"
#include "backends/cpu/kernels/isa_region.hpp"

#if defined(__x86_64__)
namespace octavo::cpu {
namespace {

constexpr std::array<std::int64_t, kPanelVectors> kMaxRows{12, 12, 8, 6};

OCTAVO_ISA_BEGIN("avx512f,avx512bw")
#include "backends/cpu/kernels/vec_avx512-inl.hpp"

#include "backends/cpu/kernels/float32_dot-inl.hpp"

#include "backends/cpu/kernels/dot_tile-inl.hpp"

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
#include "backends/cpu/kernels/decode_avx512-inl.hpp"
OCTAVO_ISA_END

}  // namespace

extern const DotKernels kAvx512FmaDot{
    "6x64 tile, AVX-512 FMA, float32 sums in ascending k",
    "6x64 tile, AVX-512 FMA, float32 sums in ascending k, weights packed on the fly",
    kFloat32Form,
    kMaxRows,
    &find_dot_tile,
    &pack_rows,
    &decode_int8,
    &decode_float8,
    &decode_float8_quads,
};

}  // namespace octavo::cpu
#endif
