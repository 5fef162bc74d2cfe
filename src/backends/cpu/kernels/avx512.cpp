// SPDX-License-Identifier: Apache-2.0
// 8 x 16 in 16-wide vectors: 8 accumulators hide the latency of an addition.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "backends/cpu/kernels.hpp"
#include "backends/cpu/kernels/isa_region.hpp"
#include "octavo/numeric.hpp"

#if defined(__x86_64__)
namespace octavo::cpu {
namespace {

OCTAVO_ISA_BEGIN("avx512f")
#include "backends/cpu/kernels/float_tile-inl.hpp"
#include "backends/cpu/kernels/rows-inl.hpp"

using Vec16 = float __attribute__((vector_size(64), may_alias));
#include "backends/cpu/kernels/lanes-inl.hpp"
inline Lanes<std::uint16_t, 16> low_halves(Lanes<std::uint32_t, 16> words) {
  return reinterpret_cast<Lanes<std::uint16_t, 16>>(
      _mm512_cvtepi32_epi16(reinterpret_cast<__m512i>(words)));
}
#include "backends/cpu/kernels/finish-inl.hpp"

void finish_tile(const FinishTile& tile) noexcept { finish<16>(tile); }

OCTAVO_KERNEL void tile_8x16(std::int64_t depth, const float* a, const float* b, float* c,
                             std::int64_t ldc) noexcept {
  add_product<Vec16, 1>(depth, a, b, c, ldc, std::make_index_sequence<8>());
}
OCTAVO_ISA_END

}  // namespace

const Kernels kAvx512Kernels{"8x16 tile, AVX-512, exact sums through float32 in steps of 512",
                             "8x16 tile, AVX-512, float32 sums in ascending k",
                             8,
                             &tile_8x16,
                             &widen_row,
                             &narrow_row,
                             &absmax_row,
                             &divide_row,
                             &finish_tile};

}  // namespace octavo::cpu
#endif
