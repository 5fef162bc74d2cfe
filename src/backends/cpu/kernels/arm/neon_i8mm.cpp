// SPDX-License-Identifier: Apache-2.0
// int8 by smmla, which multiplies two rows of eight bytes by two columns of eight, exactly modulo
// 2^32. 24 registers of sums, three of A and some of B fit 32. B has to be packed in steps of
// eight, which is done a chunk at a time for all its rows; few rows take sdot on panels as they
// are.
#if defined(__aarch64__)
#include <arm_neon.h>

#include <cstdlib>
#include <cstring>
#include <utility>

#include "backends/cpu/kernels/isa_region.hpp"
#include "backends/cpu/kernels/tile_contract.hpp"

namespace octavo::cpu {
namespace {

constexpr std::array<std::int64_t, kPanelVectors> kMaxRows{6, 1, 1, 1};
constexpr std::int64_t kWidth = 1;

OCTAVO_ISA_BEGIN("arch=armv8.2-a+i8mm")
#include "backends/cpu/kernels/vec/vec_neon-inl.hpp"

#include "backends/cpu/kernels/vec/transpose_neon-inl.hpp"

#include "backends/cpu/kernels/panels/pack-inl.hpp"

#include "backends/cpu/kernels/tile/eights_dot-inl.hpp"
#include "backends/cpu/kernels/panels/join_eights_neon-inl.hpp"

struct Dot : ByteEightsDot<1> {
  template <int, int>
  static OCTAVO_INLINE Sum add(Sum sum, Left a, Right b) {
    return vmmlaq_s32(sum, Part::as_signed(a), Part::as_signed(b));
  }
};
#include "backends/cpu/kernels/tile/dot_tile_registers-inl.hpp"

void pack_eights(const PackPiece& p) noexcept {
  pack_interleaved<1>(p, [](const PackPiece& part) { pack_piece(part, SameElements<1, true>()); });
}
OCTAVO_ISA_END

}  // namespace

extern const IntegerKernels kNeonI8mmDot{
    .dot =
        {
            .how = "6x16 tile, NEON i8mm (smmla), exact int32 sums",
            .form = kEightsForm,
            .max_rows = kMaxRows,
            .tile = &find_dot_tile,
            .pack = &pack_eights,
            .decode_int8 = &interleave_panel,
            .width = kWidth,
        },
    .rows = ARows::signed_bytes,
};

}  // namespace octavo::cpu
#endif
