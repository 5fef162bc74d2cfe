// SPDX-License-Identifier: Apache-2.0
// int8 on NEON without dot products: smull makes words of products, which is exact for all codes
// (-128 * -128 = 2^14), and sadalp adds pairs of them to sums of 32 bits, modulo 2^32. A register
// of sums is two columns, the first and the second two products of each: 16 of them leave enough
// for what is being multiplied.
#if defined(__aarch64__)
#include <arm_neon.h>

#include <cstdlib>
#include <cstring>
#include <utility>

#include "backends/cpu/kernels/isa_region.hpp"
#include "backends/cpu/kernels/tile_contract.hpp"

namespace octavo::cpu {
namespace {

constexpr std::array<std::int64_t, kPanelVectors> kMaxRows{2, 1, 1, 1};
constexpr std::int64_t kWidth = 1;

OCTAVO_ISA_BEGIN("arch=armv8-a")
#include "backends/cpu/kernels/vec/vec_neon-inl.hpp"

#include "backends/cpu/kernels/tile/lanes_dot-inl.hpp"

struct Dot : ByteLanesDot {
  using Sum = int32x4_t;
  using Row = Vec::Ints;
  static constexpr int kSums = 8;
  static constexpr int kMostVectors = 2;
  template <int step, int part>
  static OCTAVO_INLINE Sum add(Sum sum, Left a, Right b) {
    const int8x16_t four = vreinterpretq_s8_s32(vdupq_laneq_s32(vreinterpretq_s32_u8(a), step));
    const int8x16_t codes = vreinterpretq_s8_u8(b);
    return vpadalq_s16(sum, part == 0 ? vmull_s8(vget_low_s8(codes), vget_low_s8(four))
                                      : vmull_high_s8(codes, four));
  }
  // A column's sum is its first half's.
  template <bool>
  static OCTAVO_INLINE void put(Sum* sums, const void* c, const void*) {
    const Vec::Ints row = Vec::load_ints(c);
    const auto halves = [&](int i) OCTAVO_LAMBDA {
      sums[2 * i] = vzip1q_s32(row.part[i], zero());
      sums[2 * i + 1] = vzip2q_s32(row.part[i], zero());
    };
    halves(0);
    halves(1);
    halves(2);
    halves(3);
  }
  template <std::size_t>
  static OCTAVO_INLINE Row row(const Sum* sums) {
    return Vec::each<Row>([&](int i) { return vpaddq_s32(sums[2 * i], sums[2 * i + 1]); });
  }
};
#include "backends/cpu/kernels/tile/dot_tile_registers-inl.hpp"
#include "backends/cpu/kernels/vec/transpose_neon-inl.hpp"

#include "backends/cpu/kernels/panels/pack_codes-inl.hpp"

OCTAVO_INLINE Part::Ints add_products(Part::Ints sum, Part::Bytes left, Part::Bytes right) {
  const int8x16_t a = Part::as_signed(left), b = Part::as_signed(right);
  sum = vpadalq_s16(sum, vmull_s8(vget_low_s8(a), vget_low_s8(b)));
  return vpadalq_s16(sum, vmull_high_s8(a, b));
}
// Pairs of words, then pairs of these: a column a lane.
OCTAVO_INLINE Part::Ints add_columns(Part::Ints sum, Part::Bytes left, Part::Bytes right) {
  const int8x16_t a = Part::as_signed(left), b = Part::as_signed(right);
  const int32x4_t front = vpaddlq_s16(vmull_s8(vget_low_s8(a), vget_low_s8(b)));
  const int32x4_t back = vpaddlq_s16(vmull_high_s8(a, b));
  sum = vaddq_s32(sum, vpaddq_s32(front, back));
  __asm__("" : "+w"(sum));  // or g++ 12 adds up products of several steps first, and spills them
  return sum;
}
#include "backends/cpu/kernels/unpacked/int8_neon-inl.hpp"
OCTAVO_ISA_END

}  // namespace

extern const IntegerKernels kNeonInt8Dot{
    .dot =
        {
            .how = "2x16 tile, NEON (smull, sadalp), exact int32 sums",
            .how_unpacked = "few rows, NEON (smull, sadalp), exact int32 sums",
            .form = kInt8Form,
            .max_rows = kMaxRows,
            .tile = &find_dot_tile,
            .pack = &pack_codes,
            .unpacked = &find_unpacked,
            .width = kWidth,
        },
    .rows = ARows::signed_bytes,
    .unpack = &unpack_piece,
};

}  // namespace octavo::cpu
#endif
