// SPDX-License-Identifier: Apache-2.0
// float32 by fused multiply-add on NEON: sum[lane] = fma(a, b, sum[lane]), one product a lane and
// step. 20 registers of sums, five of A and some of B fit 32.
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

OCTAVO_ISA_BEGIN("arch=armv8-a")
#include "backends/cpu/kernels/vec/vec_neon-inl.hpp"

#include "backends/cpu/kernels/tile/lanes_dot-inl.hpp"

struct Dot : FloatLanesDot {
  template <int step, int>
  static OCTAVO_INLINE Sum add(Sum sum, Left a, Right b) {
    return vfmaq_laneq_f32(sum, Part::as_floats(b), a, step);
  }
};
#include "backends/cpu/kernels/tile/dot_tile_registers-inl.hpp"
#include "backends/cpu/kernels/vec/transpose_neon-inl.hpp"

#include "backends/cpu/kernels/panels/pack-inl.hpp"

#include "backends/cpu/kernels/panels/decode_neon-inl.hpp"

void pack_rows(const float* rows, std::int64_t depth, std::int64_t vectors, void* panel) noexcept {
  for (std::int64_t v = 0; v < vectors; ++v) {
    char* out = static_cast<char*>(panel) + v * kFloat32Form.vector_bytes;
    for (std::int64_t k = 0; k < depth; ++k, rows += kVectorCols) {
      Vec::store(out, Vec::load_ints(rows));
      out += vectors * kFloat32Form.vector_bytes;
    }
  }
}

// Pairs of 16 bits.
struct BFloat16Pairs {
  static constexpr std::int64_t kSize = 2, kRows = 2;
  static constexpr bool kSums = false;
  OCTAVO_INLINE void put(char* out, std::int64_t row_bytes, const Vec::Ints& pairs) const {
    const int32x4_t upper = vdupq_n_s32(-0x10000);
    Vec::store(out, Vec::each<Vec::Ints>([&](int i) { return vshlq_n_s32(pairs.part[i], 16); }));
    Vec::store(out + row_bytes,
               Vec::each<Vec::Ints>([&](int i) { return vandq_s32(pairs.part[i], upper); }));
  }
};
struct Float16Pairs {
  static constexpr std::int64_t kSize = 2, kRows = 2;
  static constexpr bool kSums = false;
  OCTAVO_INLINE void put(char* out, std::int64_t row_bytes, const Vec::Ints& pairs) const {
    const auto floats = [](int32x4_t x) {
      return vcvt_f32_f16(vreinterpret_f16_u16(vmovn_u32(vreinterpretq_u32_s32(x))));
    };
    Vec::store(out, Vec::each<Vec::Floats>([&](int i) { return floats(pairs.part[i]); }));
    Vec::store(out + row_bytes, Vec::each<Vec::Floats>(
                                    [&](int i) { return floats(vshrq_n_s32(pairs.part[i], 16)); }));
  }
};

#include "backends/cpu/kernels/panels/pack_floats-inl.hpp"
#include "backends/cpu/kernels/panels/pairs_to_floats-inl.hpp"

namespace few {
#include "backends/cpu/kernels/tile/float32_dot-inl.hpp"

#include "backends/cpu/kernels/tile/dot_sums-inl.hpp"

#include "backends/cpu/kernels/unpacked/columns-inl.hpp"
#include "backends/cpu/kernels/unpacked/rows-inl.hpp"

#include "backends/cpu/kernels/unpacked/element_lines-inl.hpp"
#include "backends/cpu/kernels/unpacked/floats_neon-inl.hpp"
}  // namespace few

namespace few_codes {
#include "backends/cpu/kernels/tile/float_dot-inl.hpp"
struct Dot : FloatDot {
  explicit Dot(const DotTile& t) : FloatDot(t), codes(*t.table) {}
  static OCTAVO_INLINE Sum add(const Sum& sum, const Vec::Ints& a, const Vec::Ints& b) {
    return Vec::fused(Vec::as_floats(a), Vec::as_floats(b), sum);
  }
  AllCodes codes;
};

#include "backends/cpu/kernels/tile/dot_sums-inl.hpp"

#include "backends/cpu/kernels/unpacked/columns-inl.hpp"
#include "backends/cpu/kernels/unpacked/rows-inl.hpp"

#include "backends/cpu/kernels/unpacked/codes_neon-inl.hpp"
}  // namespace few_codes

UnpackedKernel find_unpacked(const UnpackedWanted& wanted) noexcept {
  const bool along_k = wanted.order == UnpackedOrder::along_k;
  const auto of = [&]<class Source, class LinesOf>() {
    return along_k ? few::find_unpacked_columns<Source>(wanted)
                   : few::find_unpacked_rows<LinesOf>(wanted.rows);
  };
  switch (wanted.weight) {
    case DType::float32:
      return of.template operator()<few::WordSource, few::FewerVectors<few::FloatLines, 1, 8>>();
    case DType::float16:
      return of.template operator()<few::HalfSource, few::FewerVectors<few::HalfLines, 2, 8>>();
    case DType::bfloat16:
      return of.template operator()<few::Bf16Source, few::FewerVectors<few::Bf16Lines, 2, 8>>();
    case DType::int8:
      return of.template operator()<few::Int8Source, few::FewerVectors<few::Int8Lines, 4, 8>>();
    default:
      if (!is_float8(wanted.weight)) return nullptr;
      using Lines = few_codes::FewerVectors<few_codes::Float8Lines, 4, 8>;
      return along_k ? few_codes::find_unpacked_columns<few_codes::Float8Source>(wanted)
                     : few_codes::find_unpacked_rows<Lines>(wanted.rows);
  }
}
OCTAVO_ISA_END

}  // namespace

extern const DotKernels kNeonFmaDot{
    .how = "5x16 tile, NEON FMA, float32 sums in ascending k",
    .how_unpacked = "few rows, NEON FMA, float32 sums in ascending k",
    .form = kFloat32Form,
    .max_rows = kMaxRows,
    .tile = &find_dot_tile,
    .pack = &pack,
    .pack_rows = &pack_rows,
    .decode_int8 = &decode_int8,
    .decode_float8 = &decode_float8,
    .unpacked = &find_unpacked,
    .width = kWidth,
    .from_pairs = &from_pairs,
};

}  // namespace octavo::cpu
#endif
