// SPDX-License-Identifier: Apache-2.0
// int8 on NEON: a few rows by a weight [N, K] where it lies, 16 bytes at a time.
//
// Included inside an instruction-set region after vec_neon-inl.hpp and
//   add_products(sum, a, b)   sum plus 16 products of signed bytes, in any of its lanes
// every including file gets its own copy.
namespace along {

constexpr std::int64_t kSquareBytes = 64;  // of a column, at a time

struct Dot {
  explicit OCTAVO_INLINE Dot(const octavo::cpu::DotTile& t) : flip(Vec::broadcast_byte(t.flip)) {}
  OCTAVO_INLINE Vec::Ints flipped(const Vec::Ints& a) const { return Vec::exclusive_or(a, flip); }
  Vec::Ints flip;
};

struct Along {
  static constexpr std::int64_t kBytes = 16, kRowBytes = 16, kLanes = 4;
  using Sum = int32x4_t;
  static OCTAVO_INLINE Sum zero() { return vdupq_n_s32(0); }
  static OCTAVO_INLINE Sum plus(Sum a, Sum b) { return vaddq_s32(a, b); }
  static OCTAVO_INLINE void store(std::int32_t* p, Sum sum) { vst1q_s32(p, sum); }
  static OCTAVO_INLINE int8x16_t load(const Dot&, const char* b) {
    return vreinterpretq_s8_u8(vld1q_u8(reinterpret_cast<const std::uint8_t*>(b)));
  }
  static OCTAVO_INLINE int8x16_t left(const char* a) {
    return vld1q_s8(reinterpret_cast<const std::int8_t*>(a));
  }
  static OCTAVO_INLINE int8x16_t one(const Dot&) { return vdupq_n_s8(1); }
  static OCTAVO_INLINE Sum add(Sum sum, int8x16_t a, int8x16_t b) {
    return add_products(sum, a, b);
  }
  template <int count>
  static OCTAVO_INLINE void totals(const std::int32_t* lanes, std::int32_t* out) {
    for (int i = 0; i < count; ++i) out[i] = vaddvq_s32(vld1q_s32(lanes + i * kLanes));
  }
};
#include "backends/cpu/kernels/plain_along-inl.hpp"

}  // namespace along

octavo::cpu::PlainKernel find_plain(const octavo::cpu::PlainWanted& wanted) noexcept {
  const bool along_k = wanted.order == octavo::cpu::PlainOrder::along_k;
  return along_k && wanted.group == 0 ? along::find_plain_along(wanted.rows) : nullptr;
}
