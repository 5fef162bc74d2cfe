// SPDX-License-Identifier: Apache-2.0
// bfloat16 by bfdot, two products a lane and step: their sum, and its sum with the lane, are each
// rounded to odd; numbers below 2^-126 count as 0, whatever the environment says. Of few rows; the
// bits are those of bfmmla (neon_bf16_mmla.cpp), which adds the same pairs in the same order.
#if defined(__aarch64__)
#include <arm_neon.h>

#include <bit>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "backends/cpu/kernels/dot.hpp"
#include "backends/cpu/kernels/isa_region.hpp"

namespace octavo::cpu {
namespace {

constexpr std::array<std::int64_t, kPanelVectors> kMaxRows{5, 2, 1, 1};
constexpr std::int64_t kWidth = 1;

OCTAVO_ISA_BEGIN("arch=armv8.2-a+bf16")
#include "backends/cpu/kernels/vec_neon-inl.hpp"

#include "backends/cpu/kernels/lanes_dot-inl.hpp"

struct Dot : FloatLanesDot {
  template <int step, int>
  static OCTAVO_INLINE Sum add(Sum sum, Left a, Right b) {
    return vbfdotq_laneq_f32(sum, vreinterpretq_bf16_u8(b), vreinterpretq_bf16_f32(a), step);
  }
  // A sum that was flushed may be -0, and is 0 where zeros are added behind K.
  template <std::size_t>
  static OCTAVO_INLINE Row row(const Sum* sums) {
    return Vec::without_negative_zeros(FloatLanesDot::row<0>(sums));
  }
};
#include "backends/cpu/kernels/dot_tile_registers-inl.hpp"
#include "backends/cpu/kernels/transpose_neon-inl.hpp"

#include "backends/cpu/kernels/pack-inl.hpp"

OCTAVO_INLINE void put_steps(char* out, std::int64_t vectors, std::int64_t v, int quad,
                             int32x4_t first, int32x4_t second, bool both) {
  auto* at = reinterpret_cast<std::int32_t*>(out + v * 64) + 4 * quad;
  vst1q_s32(at, first);
  if (both) vst1q_s32(at + vectors * 16, second);
}
#include "backends/cpu/kernels/pairs_neon-inl.hpp"
OCTAVO_ISA_END

}  // namespace

extern const DotKernels kNeonBf16Dot{
    "5x16 tile, NEON BF16 (bfdot), float32 sums in ascending k",
    nullptr,
    kBf16Form,
    kMaxRows,
    &find_dot_tile,
    &pack_pairs,
    &pack_rows,
    &decode_int8,
    &decode_float8,
    nullptr,
    kWidth,
};

}  // namespace octavo::cpu
#endif
