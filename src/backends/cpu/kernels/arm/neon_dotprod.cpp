// SPDX-License-Identifier: Apache-2.0
// int8 by sdot, sum[lane] += a[0] b[0] + a[1] b[1] + a[2] b[2] + a[3] b[3] of signed bytes, exact
// modulo 2^32: 20 registers of sums, five of A and some of B fit 32.
#if defined(__aarch64__)
#include <arm_neon.h>

#include <cstdlib>
#include <cstring>
#include <utility>

#include "backends/cpu/kernels/isa_region.hpp"
#include "backends/cpu/kernels/tile_contract.hpp"

namespace octavo::cpu {
namespace {

constexpr std::array<std::int64_t, kPanelVectors> kMaxRows{5, 2, 1, 1};
constexpr std::int64_t kWidth = 1;

OCTAVO_ISA_BEGIN("arch=armv8.2-a+dotprod")
#include "backends/cpu/kernels/vec/vec_neon-inl.hpp"

#include "backends/cpu/kernels/tile/lanes_dot-inl.hpp"

struct Dot : ByteLanesDot, ColumnSums<Part::Ints, Vec::Ints> {
  template <int step, int>
  static OCTAVO_INLINE Sum add(Sum sum, Left a, Right b) {
    return vdotq_laneq_s32(sum, Part::as_signed(b), Part::as_signed(a), step);
  }
};
#include "backends/cpu/kernels/tile/dot_tile_registers-inl.hpp"
#include "backends/cpu/kernels/vec/transpose_neon-inl.hpp"

#include "backends/cpu/kernels/panels/pack_codes-inl.hpp"

OCTAVO_INLINE Part::Ints add_products(Part::Ints sum, Part::Bytes a, Part::Bytes b) {
  return vdotq_s32(sum, Part::as_signed(a), Part::as_signed(b));
}
OCTAVO_INLINE Part::Ints add_columns(Part::Ints sum, Part::Bytes a, Part::Bytes b) {
  return add_products(sum, a, b);
}
#include "backends/cpu/kernels/unpacked/int8_neon-inl.hpp"
OCTAVO_ISA_END

}  // namespace

extern const IntegerKernels kNeonDotprodDot{
    .dot =
        {
            .how = "5x16 tile, NEON dotprod (sdot), exact int32 sums",
            .how_unpacked = "few rows, NEON dotprod (sdot), exact int32 sums",
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
