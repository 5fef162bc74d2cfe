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

#include "backends/cpu/kernels/isa_region.hpp"
#include "backends/cpu/kernels/tile_contract.hpp"

namespace octavo::cpu {
namespace {

constexpr std::array<std::int64_t, kPanelVectors> kMaxRows{5, 2, 1, 1};
constexpr std::int64_t kWidth = 1;

OCTAVO_ISA_BEGIN("arch=armv8.2-a+bf16")
#include "backends/cpu/kernels/vec/vec_neon-inl.hpp"

#include "backends/cpu/kernels/tile/lanes_dot-inl.hpp"
#include "backends/cpu/kernels/tile/pair_lanes_neon-inl.hpp"

struct Dot : PairLanesDot {};
#include "backends/cpu/kernels/tile/dot_tile_registers-inl.hpp"
#include "backends/cpu/kernels/vec/transpose_neon-inl.hpp"

#include "backends/cpu/kernels/panels/pack-inl.hpp"

OCTAVO_INLINE void put_steps(char* out, std::int64_t vectors, std::int64_t v, int quad,
                             int32x4_t first, int32x4_t second, bool both) {
  auto* at = reinterpret_cast<std::int32_t*>(out + v * 64) + 4 * quad;
  vst1q_s32(at, first);
  if (both) vst1q_s32(at + vectors * 16, second);
}
#include "backends/cpu/kernels/panels/pairs_neon-inl.hpp"

#include "backends/cpu/kernels/tile/float_dot-inl.hpp"

// The same of vectors.
struct PairDot : FloatDot {
  explicit PairDot(const DotTile& t) : FloatDot(t) {}
  static OCTAVO_INLINE Sum add(const Sum& sum, const Vec::Ints& a, const Vec::Ints& b) {
    const auto pairs = [](int32x4_t x) { return vreinterpretq_bf16_s32(x); };
    return Vec::each<Sum>(
        [&](int i) { return vbfdotq_f32(sum.part[i], pairs(b.part[i]), pairs(a.part[i])); });
  }
  static OCTAVO_INLINE void write(void* p, const Sum& sum) { Vec::store(p, floats(sum)); }
  static OCTAVO_INLINE Vec::Floats floats(const Sum& sum) {
    return Vec::without_negative_zeros(sum);
  }
};

namespace few {
struct Dot : PairDot {
  explicit Dot(const DotTile& t) : PairDot(t) {}
};
#include "backends/cpu/kernels/tile/dot_sums-inl.hpp"

#include "backends/cpu/kernels/unpacked/columns-inl.hpp"
#include "backends/cpu/kernels/unpacked/rows-inl.hpp"

#include "backends/cpu/kernels/unpacked/pairs_neon-inl.hpp"
}  // namespace few

namespace few_codes {
struct Dot : PairDot {
  explicit Dot(const DotTile& t) : PairDot(t), codes(*t.table) {}
  Float8Bytes codes;
};
#include "backends/cpu/kernels/tile/dot_sums-inl.hpp"

#include "backends/cpu/kernels/unpacked/columns-inl.hpp"
#include "backends/cpu/kernels/unpacked/rows-inl.hpp"

#include "backends/cpu/kernels/unpacked/pair_codes_neon-inl.hpp"
}  // namespace few_codes

UnpackedKernel find_unpacked(const UnpackedWanted& wanted) noexcept {
  const bool along_k = wanted.order == UnpackedOrder::along_k;
  switch (wanted.weight) {
    case DType::bfloat16:
      return along_k
                 ? few::find_unpacked_columns<few::WordSource>(wanted)
                 : few::find_unpacked_rows<few::FewerVectors<few::Bf16Lines, 2, 8>>(wanted.rows);
    case DType::int8:
      return along_k
                 ? few::find_unpacked_columns<few::Int8Source>(wanted)
                 : few::find_unpacked_rows<few::FewerVectors<few::Int8Lines, 4, 8>>(wanted.rows);
    default:
      if (!is_float8(wanted.weight)) return nullptr;
      using Lines = few_codes::Float8LinesOf;
      return along_k ? few_codes::find_unpacked_columns<few_codes::Float8Source>(wanted)
                     : few_codes::find_unpacked_rows<Lines>(wanted.rows);
  }
}
OCTAVO_ISA_END

}  // namespace

extern const DotKernels kNeonBf16Dot{
    .how = "5x16 tile, NEON BF16 (bfdot), float32 sums in ascending k",
    .how_unpacked = "few rows, NEON BF16 (bfdot), float32 sums in ascending k",
    .form = kBf16Form,
    .max_rows = kMaxRows,
    .tile = &find_dot_tile,
    .pack = &pack_pairs,
    .pack_rows = &pack_rows,
    .decode_int8 = &decode_int8,
    .decode_float8 = &decode_float8,
    .unpacked = &find_unpacked,
    .width = kWidth,
};

}  // namespace octavo::cpu
#endif
