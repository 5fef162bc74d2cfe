// SPDX-License-Identifier: Apache-2.0
// int8 on Arm: a few rows by a weight [N, K] in place, a register at a time.
//
//   add_products(sum, a, b)   sum plus a product of signed bytes for each, in any of its lanes
//
// Needs: add_products, Part, Vec
// Gives: along
namespace along {

constexpr std::int64_t kSquareBytes = 64;  // of a column, at a time

struct Dot {
  static constexpr bool kExact = true;
  explicit OCTAVO_INLINE Dot(const octavo::cpu::DotTile& t) : flip(Vec::broadcast_byte(t.flip)) {}
  OCTAVO_INLINE Vec::Ints flipped(const Vec::Ints& a) const { return Vec::exclusive_or(a, flip); }
  Vec::Ints flip;
};

#include "backends/cpu/kernels/unpacked/undo-inl.hpp"

struct Along {
  static constexpr std::int64_t kBytes = Part::kBytes, kRowBytes = kBytes, kLanes = kBytes / 4;
  using Sum = Part::Ints;
  static OCTAVO_INLINE Sum zero() { return Part::zero_ints(); }
  static OCTAVO_INLINE Sum plus(Sum a, Sum b) { return Part::add(a, b); }
  static OCTAVO_INLINE void store(std::int32_t* p, Sum sum) { Part::store(p, sum); }
  static OCTAVO_INLINE Part::Bytes load(const Dot&, const char* b) { return Part::load(b); }
  static OCTAVO_INLINE Part::Bytes left(const char* a) { return Part::load(a); }
  static OCTAVO_INLINE Part::Bytes one(const Dot&) { return Part::ones(); }
  static OCTAVO_INLINE Sum add(Sum sum, Part::Bytes a, Part::Bytes b) {
    return add_products(sum, a, b);
  }
  template <int count>
  static OCTAVO_INLINE void totals(const std::int32_t* lanes, std::int32_t* out) {
    for (int i = 0; i < count; ++i) out[i] = Part::total(lanes + i * kLanes);
  }
};
#include "backends/cpu/kernels/unpacked/along-inl.hpp"

}  // namespace along
