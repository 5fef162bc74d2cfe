// SPDX-License-Identifier: Apache-2.0
// bfloat16 by bfmmla, which multiplies two rows of four elements by two columns of four, and adds
// them by pairs as bfdot does (neon_bf16_dot.cpp). 24 registers of sums, three of A and some of B
// fit 32. B has to be packed in steps of four, which is done a chunk at a time for all its rows;
// few rows take bfdot on panels as they are.
#if defined(__aarch64__)
#include <arm_neon.h>

#include <bit>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "backends/cpu/kernels/isa_region.hpp"
#include "backends/cpu/kernels/tile_contract.hpp"

namespace octavo::cpu {
namespace {

constexpr std::array<std::int64_t, kPanelVectors> kMaxRows{6, 1, 1, 1};
constexpr std::int64_t kWidth = 1;

OCTAVO_ISA_BEGIN("arch=armv8.2-a+bf16")
#include "backends/cpu/kernels/vec/vec_neon-inl.hpp"

#include "backends/cpu/kernels/vec/transpose_neon-inl.hpp"

#include "backends/cpu/kernels/panels/pack-inl.hpp"

#include "backends/cpu/kernels/tile/eights_dot-inl.hpp"
#include "backends/cpu/kernels/panels/join_eights_neon-inl.hpp"

struct Dot : FloatEightsDot<1> {
  template <int, int>
  static OCTAVO_INLINE Sum add(Sum sum, Left a, Right b) {
    return vbfmmlaq_f32(sum, vreinterpretq_bf16_u8(a), vreinterpretq_bf16_u8(b));
  }
  // As in bfdot's tile.
  template <std::size_t r>
  static OCTAVO_INLINE Row row(const Sum* sums) {
    return Vec::without_negative_zeros(EightsDot::row<r>(sums));
  }
};
#include "backends/cpu/kernels/tile/dot_tile_registers-inl.hpp"

OCTAVO_INLINE void put_steps(char* out, std::int64_t, std::int64_t v, int quad, int32x4_t first,
                             int32x4_t second, bool) {
  interleave_steps(out + v * 128 + quad * 32, first, second);
}
#include "backends/cpu/kernels/panels/pairs_neon-inl.hpp"

void pack_fours(const PackPiece& p) noexcept { pack_interleaved<2>(p, &pack_pairs); }

void from_pairs(DType, const void* pairs, std::int64_t steps, std::int64_t vectors,
                void* panel) noexcept {
  interleave_panel(pairs, steps, vectors, panel);
}
OCTAVO_ISA_END

}  // namespace

extern const DotKernels kNeonBf16Mmla{
    .how = "6x16 tile, NEON BF16 (bfmmla), float32 sums in ascending k",
    .form = kBf16FoursForm,
    .max_rows = kMaxRows,
    .tile = &find_dot_tile,
    .pack = &pack_fours,
    .pack_rows = &pack_rows,
    .decode_int8 = &decode_int8,
    .decode_float8 = &decode_float8,
    .width = kWidth,
    .from_pairs = &from_pairs,
};

}  // namespace octavo::cpu
#endif
