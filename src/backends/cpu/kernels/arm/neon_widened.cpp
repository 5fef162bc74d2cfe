// SPDX-License-Identifier: Apache-2.0
// float32 by weights of fewer bits, which become floats inside the tile, so that a weight passes
// once as it is packed: sum[lane] = fma(a, float(b), sum[lane]), the bits of neon_fma.cpp.
//
//   16 bits  [b0 b1][b0 b1] ..  four columns a register, two steps of A each
//            bfloat16: shifted up, and masked; float16: all b0, then all b1, of eight columns
//   int8     [b0 b1 b2 b3] ..   four columns a register, four steps of A each
#if defined(__aarch64__)
#include <arm_neon.h>

#include <cstdlib>
#include <cstring>
#include <utility>

#include "backends/cpu/kernels/isa_region.hpp"
#include "backends/cpu/kernels/tile_contract.hpp"

namespace octavo::cpu {
namespace {

// What is widened leaves registers for sums of four rows.
constexpr std::array<std::int64_t, kPanelVectors> kMaxRows{4, 2, 1, 1};
constexpr std::int64_t kWidth = 1;
// One tile; of bfloat16, which takes two instructions for eight columns, two.
constexpr std::int64_t kMostRows = 4;
constexpr std::int64_t kMostBf16Rows = 8;

OCTAVO_ISA_BEGIN("arch=armv8-a")
#include "backends/cpu/kernels/vec/vec_neon-inl.hpp"

#include "backends/cpu/kernels/panels/int8_floats_neon-inl.hpp"
#include "backends/cpu/kernels/tile/lanes_dot-inl.hpp"

template <int steps>
struct WidenedDot : FloatLanesDot {
  static constexpr int kWidened = steps;
  static constexpr int kStep = steps * kStepBytes;
  template <int step, int>
  static OCTAVO_INLINE Sum add(Sum sum, Left a, Part::Floats b) {
    return vfmaq_laneq_f32(sum, b, a, step);
  }
};

namespace of_int8 {
struct Dot : WidenedDot<4> {
  using Right = Int8Floats;
  static OCTAVO_INLINE Right right(const char* b) { return Right(Part::load(b)); }
  template <int step, int>
  static OCTAVO_INLINE Part::Floats widened(const Right& codes) {
    return codes.floats<step>();
  }
};
#include "backends/cpu/kernels/tile/dot_tile_registers-inl.hpp"
}  // namespace of_int8

namespace of_bfloat16 {
struct Dot : WidenedDot<2> {
  template <int step, int>
  static OCTAVO_INLINE Part::Floats widened(Right pairs) {
    const uint32x4_t words = vreinterpretq_u32_u8(pairs);
    return vreinterpretq_f32_u32(step == 0 ? vshlq_n_u32(words, 16)
                                           : vandq_u32(words, vdupq_n_u32(0xFFFF0000U)));
  }
};
#include "backends/cpu/kernels/tile/dot_tile_registers-inl.hpp"
}  // namespace of_bfloat16

namespace of_float16 {
struct Dot : WidenedDot<2> {
  static constexpr int kLoadBytes = 32;
  static constexpr int kLoads = 2;
  struct Right {
    float16x8_t halves[2];
  };
  static OCTAVO_INLINE Right right(const char* b) {
    const auto pairs = [&](int i) { return vreinterpretq_f16_u8(Part::load(b + 16 * i)); };
    return {{vuzp1q_f16(pairs(0), pairs(1)), vuzp2q_f16(pairs(0), pairs(1))}};
  }
  template <int step, int part>
  static OCTAVO_INLINE Part::Floats widened(const Right& x) {
    return part == 0 ? vcvt_f32_f16(vget_low_f16(x.halves[step]))
                     : vcvt_high_f32_f16(x.halves[step]);
  }
};
#include "backends/cpu/kernels/tile/dot_tile_registers-inl.hpp"
}  // namespace of_float16
OCTAVO_ISA_END

}  // namespace

extern const WideningKernels kNeonWideningDot{
    .int8 =
        {
            .dot = tiles_alone("4x16 tile, int8 widened, NEON FMA, float32 sums in ascending k",
                               kInt8Form, kMaxRows, &of_int8::find_dot_tile, kWidth),
            .most_rows = kMostRows,
        },
    .bfloat16 =
        {
            .dot = tiles_alone("4x16 tile, bfloat16 widened, NEON FMA, float32 sums in ascending k",
                               kBf16Form, kMaxRows, &of_bfloat16::find_dot_tile, kWidth),
            .most_rows = kMostBf16Rows,
        },
    .float16 =
        {
            .dot = tiles_alone("4x16 tile, float16 widened, NEON FMA, float32 sums in ascending k",
                               kFloat16Form, kMaxRows, &of_float16::find_dot_tile, kWidth),
            .most_rows = kMostRows,
        },
};

}  // namespace octavo::cpu
#endif
