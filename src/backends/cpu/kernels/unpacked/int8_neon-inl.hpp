// SPDX-License-Identifier: Apache-2.0
// int8 on NEON: a few rows by a weight in place. [N, K] goes along K; where groups of scales
// end in it, its words are transposed; four rows of [K, N] are joined to steps of columns:
//
//   row k      [b0 .. b15]
//   row k + 1  [b0 .. b15]  -- zip -->  [b0 b0 b0 b0] [b1 b1 b1 b1] ..
//    ..
//
//   add_products(sum, a, b)   sum plus a product of signed bytes for each, in any of its lanes
//   add_columns(sum, a, b)    sum plus four products for each lane
//
// Needs: add_columns, add_products, kPairedRows, Part, TransposedSquare, Unseen, Vec
// Gives: find_unpacked
#include "backends/cpu/kernels/unpacked/int8_parts-inl.hpp"

namespace few {
#include "backends/cpu/kernels/tile/integer_dot-inl.hpp"
struct Dot : IntegerDot {
  explicit Dot(const octavo::cpu::DotTile& t) : IntegerDot(t) {}
  static OCTAVO_INLINE Sum add(const Sum& sum, const Vec::Ints& a, const Vec::Ints& b) {
    const auto bytes = [](int32x4_t x) { return vreinterpretq_u8_s32(x); };
    return Vec::each<Sum>(
        [&](int i) { return add_columns(sum.part[i], bytes(a.part[i]), bytes(b.part[i])); });
  }
};
#include "backends/cpu/kernels/tile/dot_sums-inl.hpp"

#include "backends/cpu/kernels/unpacked/columns-inl.hpp"
#include "backends/cpu/kernels/unpacked/rows-inl.hpp"

template <int vectors>
struct ByteLines {
  static constexpr int kRows = 4, kVectors = vectors, kBytes = 16 * vectors;
  static constexpr bool kOrdered = true;
  using Look = Unseen;
  struct FourRows {
    const char* b;
    std::int64_t ldb;
  };
  static OCTAVO_INLINE FourRows load(const Dot&, const char* b, std::int64_t ldb) {
    return {b, ldb};
  }
  template <int v>
  static OCTAVO_INLINE Vec::Ints step(const Dot&, const FourRows& rows) {
    const auto row = [&](int k) { return Part::load(rows.b + k * rows.ldb + 16 * v); };
    const auto words = [](uint8x16_t x) { return vreinterpretq_u16_u8(x); };
    const uint16x8_t front01 = words(vzip1q_u8(row(0), row(1)));
    const uint16x8_t back01 = words(vzip2q_u8(row(0), row(1)));
    const uint16x8_t front23 = words(vzip1q_u8(row(2), row(3)));
    const uint16x8_t back23 = words(vzip2q_u8(row(2), row(3)));
    return {{vreinterpretq_s32_u16(vzip1q_u16(front01, front23)),
             vreinterpretq_s32_u16(vzip2q_u16(front01, front23)),
             vreinterpretq_s32_u16(vzip1q_u16(back01, back23)),
             vreinterpretq_s32_u16(vzip2q_u16(back01, back23))}};
  }
};
}  // namespace few

octavo::cpu::UnpackedKernel find_unpacked(const octavo::cpu::UnpackedWanted& wanted) noexcept {
  if (wanted.order == octavo::cpu::UnpackedOrder::along_n) {
    return few::find_unpacked_rows<few::FewerVectors<few::ByteLines, 4, 8>>(wanted.rows);
  }
  return wanted.group > 0 ? few::find_unpacked_columns<few::WordSource>(wanted)
                          : along::find_unpacked_along(wanted.rows);
}
