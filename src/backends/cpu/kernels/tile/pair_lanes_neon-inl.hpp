// SPDX-License-Identifier: Apache-2.0
// What the `Dot`s share that multiply pairs of bfloat16 by bfdot: sum[lane] is added to two
// products a step, whatever the pairs of B are made of.
//
// For regions with BF16.
//
// Needs: FloatLanesDot, Part, Vec
// Gives: PairLanesDot
struct PairLanesDot : FloatLanesDot {
  template <int step, int>
  static OCTAVO_INLINE Sum add(Sum sum, Left a, Part::Bytes b) {
    return vbfdotq_laneq_f32(sum, vreinterpretq_bf16_u8(b), vreinterpretq_bf16_f32(a), step);
  }
  // A sum that was flushed may be -0, and is 0 where zeros are added behind K.
  template <std::size_t>
  static OCTAVO_INLINE Row row(const Sum* sums) {
    return Vec::without_negative_zeros(FloatLanesDot::row<0>(sums));
  }
};
