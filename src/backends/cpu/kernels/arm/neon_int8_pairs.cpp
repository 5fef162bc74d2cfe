// SPDX-License-Identifier: Apache-2.0
// bfloat16 by int8 weights, which become bfloat16 inside the tile, so that a weight passes once as
// it is packed; the bits of neon_bf16_dot.cpp.
//
//   b          [b0 b1 b2 b3] ..   four columns a register, two steps of A each
//   as floats  [b0] ..  [b1] ..   whose upper halves are all they have: [b0 b1] ..; then of b2, b3
#if defined(__aarch64__)
#include <arm_neon.h>

#include <cstdlib>
#include <cstring>
#include <utility>

#include "backends/cpu/kernels/isa_region.hpp"
#include "backends/cpu/kernels/tile_contract.hpp"

namespace octavo::cpu {
namespace {

constexpr std::array<std::int64_t, kPanelVectors> kMaxRows{4, 2, 1, 1};
constexpr std::int64_t kWidth = 1;
constexpr std::int64_t kMostRows = 4;

OCTAVO_ISA_BEGIN("arch=armv8.2-a+bf16")
#include "backends/cpu/kernels/vec/vec_neon-inl.hpp"

#include "backends/cpu/kernels/panels/int8_floats_neon-inl.hpp"
#include "backends/cpu/kernels/tile/lanes_dot-inl.hpp"
#include "backends/cpu/kernels/tile/pair_lanes_neon-inl.hpp"

struct Dot : PairLanesDot {
  static constexpr int kWidened = 2;
  static constexpr int kStep = kWidened * kStepBytes;
  using Right = Int8Floats;
  static OCTAVO_INLINE Right right(const char* b) { return Right(Part::load(b)); }
  template <int step, int>
  static OCTAVO_INLINE Part::Bytes widened(const Right& codes) {
    const auto halves = [](float32x4_t x) OCTAVO_LAMBDA { return vreinterpretq_u16_f32(x); };
    return vreinterpretq_u8_u16(
        vtrn2q_u16(halves(codes.floats<2 * step>()), halves(codes.floats<2 * step + 1>())));
  }
};
#include "backends/cpu/kernels/tile/dot_tile_registers-inl.hpp"
OCTAVO_ISA_END

}  // namespace

extern const WideningKernels kNeonInt8PairsDot{
    .int8 =
        {
            .dot = tiles_alone(
                "4x16 tile, int8 widened, NEON BF16 (bfdot), float32 sums in ascending k",
                kInt8Form, kMaxRows, &find_dot_tile, kWidth),
            .most_rows = kMostRows,
        },
    .bfloat16 = {},
    .float16 = {},
};

}  // namespace octavo::cpu
#endif
