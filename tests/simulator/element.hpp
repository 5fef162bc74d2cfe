// SPDX-License-Identifier: Apache-2.0
// Operands of floating tensor-core instructions as the adder sees them: value and exponent.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <limits>

#include "backends/cuda/machine/types.hpp"

namespace octavo::cuda::simulator {

/// 2^exponent, for -1022 to 1023.
constexpr double power_of_two(int exponent) noexcept {
  return std::bit_cast<double>(static_cast<std::uint64_t>(1023 + exponent) << 52);
}

/// The exponent that the adder gives to a zero, in an operand or in the accumulator.
inline constexpr int kZeroExponent = -126;

/// One operand. A NaN or an infinity is special: its exponent means nothing.
struct Element {
  double value = 0.0;
  std::int16_t exponent = kZeroExponent;
  bool special = false;
};

/// A binary format with an implicit bit and subnormals. With `infinite` the largest exponent is
/// infinity and NaN; without, only all ones is NaN.
struct ElementFormat {
  int bits;
  int mantissa_bits;
  int bias;
  bool infinite;
};

inline constexpr ElementFormat kE4M3{8, 3, 7, false};
inline constexpr ElementFormat kE5M2{8, 2, 15, true};
inline constexpr ElementFormat kHalf{16, 10, 15, true};
inline constexpr ElementFormat kBrain{16, 7, 127, true};

constexpr Element decode_element(ElementFormat format, std::uint32_t code) noexcept {
  const std::uint32_t one = 1U << format.mantissa_bits;
  const std::uint32_t largest = (1U << (format.bits - 1)) - 1U;  // a code of ones, without sign
  const std::uint32_t magnitude = code & largest;
  const std::uint32_t biased = magnitude >> format.mantissa_bits;
  const std::uint32_t mantissa = magnitude & (one - 1U);
  const double sign = (code & ~largest) != 0U ? -1.0 : 1.0;
  if (format.infinite ? biased == largest >> format.mantissa_bits : magnitude == largest) {
    using Limits = std::numeric_limits<double>;
    const bool nan = !format.infinite || mantissa != 0U;
    return {nan ? Limits::quiet_NaN() : sign * Limits::infinity(), kZeroExponent, true};
  }
  if (magnitude == 0U) return {sign * 0.0, kZeroExponent, false};
  const int exponent = (biased == 0U ? 1 : static_cast<int>(biased)) - format.bias;
  const double significand = static_cast<double>(biased == 0U ? mantissa : mantissa + one);
  return {sign * significand * power_of_two(exponent - format.mantissa_bits),
          static_cast<std::int16_t>(exponent), false};
}

/// The same number in a format that holds it exactly, where its exponent may differ: a subnormal of
/// e4m3 is a normal number of fp16.
constexpr Element converted(Element element, ElementFormat to) noexcept {
  if (element.special || element.value == 0.0) return element;
  const std::uint64_t bits = std::bit_cast<std::uint64_t>(element.value);
  const int leading = static_cast<int>(bits >> 52 & 0x7FFU) - 1023;
  const int smallest = 1 - to.bias;
  element.exponent = static_cast<std::int16_t>(leading < smallest ? smallest : leading);
  return element;
}

/// Formats of A and of B.
constexpr ElementFormat format_of_a(MmaType type) noexcept {
  if (is_half(type)) return type == MmaType::bf16_bf16 ? kBrain : kHalf;
  return type == MmaType::e4m3_e4m3 || type == MmaType::e4m3_e5m2 ? kE4M3 : kE5M2;
}
constexpr ElementFormat format_of_b(MmaType type) noexcept {
  if (is_half(type)) return format_of_a(type);
  return type == MmaType::e4m3_e4m3 || type == MmaType::e5m2_e4m3 ? kE4M3 : kE5M2;
}

}  // namespace octavo::cuda::simulator
