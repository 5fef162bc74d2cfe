// SPDX-License-Identifier: Apache-2.0
// The kernels of 64-bit Arm on registers of SVE that are longer than NEON's: the same panels,
// instructions and orders of sums, so the same bits.
//
//            panel, a step: 16 columns        256 bits           512 bits          per quad
//   sdot     [j][4] int8, A by lane           2 registers of B   1                 4 columns
//   smmla    [j][8] int8, two rows of A       4                  2                 2
//   bfdot    [j][2] bfloat16, A by lane       2                  1                 4
//   bfmmla   [j][4] bfloat16, two rows        4                  2                 2
//   fmla     [j] float32, A by lane           2                  1                 4
//
// A's 16 bytes are loaded into every quad of a register (ld1rqb), B's steps lie as they are packed:
// quads one after the other, however many a register has. What packs, decodes and joins panels, and
// reads unpacked weights but int8 along K, is NEON's.
//
// A file for each length includes this. Of tiles it says kMaxRows and kWidth:
//   kLanesRows, kLanesWidth       tiles whose instructions take A from lanes
//   kEightsRows, kEightsWidth     those that multiply two rows by two columns
//
// Needs: OCTAVO_SVE_BITS, kEightsRows, kEightsWidth, kLanesRows, kLanesWidth
// Gives: kSveKernels
#include <arm_sve.h>

#include <bit>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>

#include "backends/cpu/kernels/isa_region.hpp"
#include "backends/cpu/kernels/tile_contract.hpp"

namespace octavo::cpu {

extern const IntegerKernels kNeonInt8Dot;
extern const IntegerKernels kNeonI8mmDot;
extern const DotKernels kNeonBf16Dot;
extern const DotKernels kNeonBf16Mmla;
extern const DotKernels kNeonFmaDot;

namespace {

OCTAVO_ISA_BEGIN("arch=armv8.2-a+sve")
#include "backends/cpu/kernels/vec/vec_sve-inl.hpp"

#include "backends/cpu/kernels/tile/eights_dot-inl.hpp"
#include "backends/cpu/kernels/tile/lanes_dot-inl.hpp"

namespace by_sdot {
constexpr auto kMaxRows = kLanesRows;
constexpr std::int64_t kWidth = kLanesWidth;
struct Dot : ByteLanesDot, ColumnSums<Part::Ints, Vec::Ints> {
  template <int step, int>
  static OCTAVO_INLINE Sum add(Sum sum, Left a, Right b) {
    return svdot_lane_s32(sum, Part::as_signed(b), Part::as_signed(a), step);
  }
};
#include "backends/cpu/kernels/tile/dot_tile_registers-inl.hpp"

OCTAVO_INLINE Part::Ints add_products(Part::Ints sum, Part::Bytes a, Part::Bytes b) {
  return svdot_s32(sum, Part::as_signed(a), Part::as_signed(b));
}
#include "backends/cpu/kernels/unpacked/int8_parts-inl.hpp"
}  // namespace by_sdot

namespace by_fmla {
constexpr auto kMaxRows = kLanesRows;
constexpr std::int64_t kWidth = kLanesWidth;
struct Dot : FloatLanesDot {
  template <int step, int>
  static OCTAVO_INLINE Sum add(Sum sum, Left a, Right b) {
    return svmla_lane_f32(sum, Part::as_floats(b), a, step);
  }
};
#include "backends/cpu/kernels/tile/dot_tile_registers-inl.hpp"
}  // namespace by_fmla
OCTAVO_ISA_END

OCTAVO_ISA_BEGIN("arch=armv8.2-a+sve+i8mm")
namespace by_smmla {
constexpr auto kMaxRows = kEightsRows;
constexpr std::int64_t kWidth = kEightsWidth;
struct Dot : ByteEightsDot<kPanelVectors> {
  template <int, int>
  static OCTAVO_INLINE Sum add(Sum sum, Left a, Right b) {
    return svmmla_s32(sum, Part::as_signed(a), Part::as_signed(b));
  }
};
#include "backends/cpu/kernels/tile/dot_tile_registers-inl.hpp"
}  // namespace by_smmla
OCTAVO_ISA_END

OCTAVO_ISA_BEGIN("arch=armv8.2-a+sve+bf16")
OCTAVO_INLINE svbfloat16_t halves(Part::Bytes x) { return svreinterpret_bf16_u8(x); }

namespace by_bfdot {
constexpr auto kMaxRows = kLanesRows;
constexpr std::int64_t kWidth = kLanesWidth;
struct Dot : FloatLanesDot {
  template <int step, int>
  static OCTAVO_INLINE Sum add(Sum sum, Left a, Right b) {
    return svbfdot_lane_f32(sum, halves(b), svreinterpret_bf16_f32(a), step);
  }
  // A sum that was flushed may be -0, and is 0 where zeros are added behind K.
  template <std::size_t>
  static OCTAVO_INLINE Row row(const Sum* sums) {
    return Vec::without_negative_zeros(FloatLanesDot::row<0>(sums));
  }
};
#include "backends/cpu/kernels/tile/dot_tile_registers-inl.hpp"
}  // namespace by_bfdot

namespace by_bfmmla {
constexpr auto kMaxRows = kEightsRows;
constexpr std::int64_t kWidth = kEightsWidth;
struct Dot : FloatEightsDot<kPanelVectors> {
  template <int, int>
  static OCTAVO_INLINE Sum add(Sum sum, Left a, Right b) {
    return svbfmmla_f32(sum, halves(a), halves(b));
  }
  // As in bfdot's tile.
  template <std::size_t r>
  static OCTAVO_INLINE Row row(const Sum* sums) {
    return Vec::without_negative_zeros(EightsDot::row<r>(sums));
  }
};
#include "backends/cpu/kernels/tile/dot_tile_registers-inl.hpp"
}  // namespace by_bfmmla
OCTAVO_ISA_END

// What NEON's kernels make of panels.
template <const DotKernels& neon>
void pack(const PackPiece& piece) noexcept {
  neon.pack(piece);
}
template <const DotKernels& neon>
void pack_rows(const float* rows, std::int64_t depth, std::int64_t vectors, void* panel) noexcept {
  neon.pack_rows(rows, depth, vectors, panel);
}
template <const DotKernels& neon>
void decode_int8(const void* codes, std::int64_t steps, std::int64_t vectors,
                 void* panel) noexcept {
  neon.decode_int8(codes, steps, vectors, panel);
}
template <const DotKernels& neon>
void decode_float8(const Float8Table& table, const void* codes, std::int64_t steps,
                   std::int64_t code_vectors, std::int64_t vectors, void* panel) noexcept {
  neon.decode_float8(table, codes, steps, code_vectors, vectors, panel);
}
template <const DotKernels& neon>
void from_pairs(DType dtype, const void* pairs, std::int64_t steps, std::int64_t vectors,
                void* panel) noexcept {
  neon.from_pairs(dtype, pairs, steps, vectors, panel);
}
template <const DotKernels& neon>
UnpackedKernel find_unpacked(const UnpackedWanted& wanted) noexcept {
  return neon.unpacked(wanted);
}
UnpackedKernel find_unpacked_int8(const UnpackedWanted& wanted) noexcept {
  const bool along = wanted.order == UnpackedOrder::along_k && wanted.group == 0;
  if (along) return by_sdot::along::find_unpacked_along(wanted.rows);
  return kNeonInt8Dot.dot.unpacked(wanted);  // which every CPU with SVE can run
}
void unpack(const UnpackPiece& piece) noexcept { kNeonInt8Dot.unpack(piece); }

#define OCTAVO_TEXT(x) #x
#define OCTAVO_SVE_TEXT(bits) OCTAVO_TEXT(bits)
#define OCTAVO_SVE_NAME "SVE of " OCTAVO_SVE_TEXT(OCTAVO_SVE_BITS) " bits"

constexpr SveKernels kSveKernels{
    .sdot =
        {
            .dot =
                {
                    .how = OCTAVO_SVE_NAME " (sdot), exact int32 sums",
                    .how_unpacked = "few rows, " OCTAVO_SVE_NAME " (sdot), exact int32 sums",
                    .form = kInt8Form,
                    .max_rows = kLanesRows,
                    .tile = &by_sdot::find_dot_tile,
                    .pack = &pack<kNeonInt8Dot.dot>,
                    .unpacked = &find_unpacked_int8,
                    .width = kLanesWidth,
                },
            .rows = ARows::signed_bytes,
            .unpack = &unpack,
        },
    .smmla =
        {
            .dot =
                {
                    .how = OCTAVO_SVE_NAME " (smmla), exact int32 sums",
                    .form = kEightsForm,
                    .max_rows = kEightsRows,
                    .tile = &by_smmla::find_dot_tile,
                    .pack = &pack<kNeonI8mmDot.dot>,
                    .decode_int8 = &decode_int8<kNeonI8mmDot.dot>,
                    .width = kEightsWidth,
                },
            .rows = ARows::signed_bytes,
        },
    .bfdot =
        {
            .how = OCTAVO_SVE_NAME " (bfdot), float32 sums in ascending k",
            .how_unpacked = "few rows, NEON BF16 (bfdot), float32 sums in ascending k",
            .form = kBf16Form,
            .max_rows = kLanesRows,
            .tile = &by_bfdot::find_dot_tile,
            .pack = &pack<kNeonBf16Dot>,
            .pack_rows = &pack_rows<kNeonBf16Dot>,
            .decode_int8 = &decode_int8<kNeonBf16Dot>,
            .decode_float8 = &decode_float8<kNeonBf16Dot>,
            .unpacked = &find_unpacked<kNeonBf16Dot>,
            .width = kLanesWidth,
        },
    .bfmmla =
        {
            .how = OCTAVO_SVE_NAME " (bfmmla), float32 sums in ascending k",
            .form = kBf16FoursForm,
            .max_rows = kEightsRows,
            .tile = &by_bfmmla::find_dot_tile,
            .pack = &pack<kNeonBf16Mmla>,
            .pack_rows = &pack_rows<kNeonBf16Mmla>,
            .decode_int8 = &decode_int8<kNeonBf16Mmla>,
            .decode_float8 = &decode_float8<kNeonBf16Mmla>,
            .width = kEightsWidth,
            .from_pairs = &from_pairs<kNeonBf16Mmla>,
        },
    .fmla =
        {
            .how = OCTAVO_SVE_NAME " (fmla), float32 sums in ascending k",
            .how_unpacked = "few rows, NEON FMA, float32 sums in ascending k",
            .form = kFloat32Form,
            .max_rows = kLanesRows,
            .tile = &by_fmla::find_dot_tile,
            .pack = &pack<kNeonFmaDot>,
            .pack_rows = &pack_rows<kNeonFmaDot>,
            .decode_int8 = &decode_int8<kNeonFmaDot>,
            .decode_float8 = &decode_float8<kNeonFmaDot>,
            .unpacked = &find_unpacked<kNeonFmaDot>,
            .width = kLanesWidth,
            .from_pairs = &from_pairs<kNeonFmaDot>,
        },
};

}  // namespace
}  // namespace octavo::cpu
