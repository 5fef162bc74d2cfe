// SPDX-License-Identifier: Apache-2.0
// Two codes of fp8 as two elements of fp16, which has every value of both formats.
//
// e5m2 is fp16's upper half. A code of e4m3 has its exponent and mantissa seven bits further up,
// where they are read with a bias that is 8 larger: times 2^8 they are the value, subnormals among
// them, and nothing is rounded:
//
//     code                               s eeee mmm
//     the same between its signs  ssss ssss seee emmm
//     seven bits up, and masked   s0ee eemm m000 0000   x 2^8
//
// So the code of NaN becomes 480, which no other code is, and is noted: the largest magnitude that
// a lane has met of a row or column says whether there was one. From sm_89 on there is an
// instruction for all that.
#pragma once

#include "backends/cuda/machine/types.hpp"

namespace octavo::cuda {

enum class Fp8 : std::uint8_t { e4m3, e5m2 };

/// Codes 0 and 1 of a word, or 2 and 3. `largest`: what Fp8Nans keeps of their row or column.
template <Fp8 format, class Machine>
OCTAVO_DEVICE std::uint32_t halves_of(Machine& m, std::uint32_t codes, int pair,
                                      std::uint32_t& largest) {
  if constexpr (format == Fp8::e5m2) {
    return m.permute_bytes(codes, 0, pair == 0 ? 0x1404U : 0x3424U);
  } else if constexpr (Machine::has_fp8) {
    return m.unpack_e4m3(codes >> (16 * pair) & 0xFFFFU);
  } else {
    constexpr std::uint32_t kKept = 0xBF80BF80U, k256 = 0x5C005C00U;
    const std::uint32_t extended = m.permute_bytes(codes, 0, pair == 0 ? 0x9180U : 0xB3A2U);
    const std::uint32_t scaled = extended << 7 & kKept;
    largest = m.largest_f16(largest, scaled);
    return m.multiply_f16(scaled, k256);
  }
}

/// Where halves_of met a NaN: in which of `blocks` blocks of eight rows or
/// columns, of which a lane has elements of number lane / 4.
template <int blocks>
class Fp8Nans {
 public:
  OCTAVO_DEVICE std::uint32_t& operator[](int block) { return largest_[block]; }

  /// All lanes of a warp together: what each of them has becomes what its row or column has.
  template <class Machine>
  OCTAVO_DEVICE void meet(Machine& m) {
    const std::uint32_t lane = m.lane();
    OCTAVO_UNROLL
    for (int i = 0; i < blocks; ++i) {
      OCTAVO_UNROLL
      for (std::uint32_t other = 1; other < 4; other *= 2)
        largest_[i] = m.largest_f16(largest_[i], m.shuffle(largest_[i], lane ^ other));
    }
  }

  /// Behind meet, all lanes together: that of `lane` of the warp.
  template <class Machine>
  OCTAVO_DEVICE bool any(Machine& m, int block, std::uint32_t lane) const {
    constexpr std::uint32_t k480 = 0x3F80U;  // x 2^-8
    const std::uint32_t largest = m.shuffle(largest_[block], lane);
    return (largest & 0xFFFFU) == k480 || largest >> 16 == k480;
  }

 private:
  std::uint32_t largest_[blocks] = {};
};

}  // namespace octavo::cuda
