// SPDX-License-Identifier: Apache-2.0
// Two codes of fp8 as two elements of fp16, which has every value of both formats.
//
// e5m2 is fp16's upper half. A code of e4m3 has its exponent and mantissa seven bits further up,
// where they are read with a bias that is 8 larger: times 2^8 they are the value, subnormals among
// them, and nothing is rounded. The code of NaN would be 480, the one product with all exponent
// bits set but bit 13; it gets that one:
//
//     code     s eeee mmm
//     fp16     s 0eeee mmm0000000  x 2^8       NaN: 0 11010 1110000000 -> 0 11111 1110000000
//
// From sm_89 on there is an instruction for that.
#pragma once

#include "backends/cuda/machine/types.hpp"

namespace octavo::cuda {

enum class Fp8 : std::uint8_t { e4m3, e5m2 };

/// Codes 0 and 1 of a word, or 2 and 3.
template <Fp8 format, class Machine>
OCTAVO_DEVICE std::uint32_t halves_of(Machine& m, std::uint32_t codes, int pair) {
  // Each in the upper byte of its half.
  const std::uint32_t upper = m.permute_bytes(codes, 0, pair == 0 ? 0x1404U : 0x3424U);
  if constexpr (format == Fp8::e5m2) {
    return upper;
  } else if constexpr (Machine::has_fp8) {
    return m.unpack_e4m3(codes >> (16 * pair) & 0xFFFFU);
  } else {
    constexpr std::uint32_t kMagnitude = 0x3F803F80U, kSign = 0x80008000U, k256 = 0x5C005C00U;
    const std::uint32_t magnitude = upper >> 1 & kMagnitude;
    const std::uint32_t beyond = magnitude + 0x00800080U;  // bit 14: of NaN alone
    return m.multiply_f16(magnitude, k256) | (upper & kSign) | (beyond >> 1 & 0x20002000U);
  }
}

}  // namespace octavo::cuda
