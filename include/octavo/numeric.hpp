// SPDX-License-Identifier: Apache-2.0
// Number formats: conversion between float32 and every narrow type, to the bit, in constant
// expressions too.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <limits>

namespace octavo {

/// What a finite value beyond the largest finite code becomes. Infinite values do not saturate
/// in formats that have an infinity: overflow detection relies on them.
enum class Overflow : std::uint8_t {
  saturate,  ///< the largest finite value (the default for fp8)
  ieee,      ///< infinity where the format has one, else NaN
};

/// The layout of a binary floating-point format of at most 16 bits.
///
/// Source: OCP OFP8 1.0 (e4m3fn, e5m2), OCP MX 1.0 (e8m0fnu), IEEE 754-2019 (float16); the fnuz
/// formats are those of ml_dtypes: no negative zero, no infinity, one NaN at 0x80.
struct FloatFormat {
  int mantissa_bits;       ///< stored ones
  int bias;                ///< of the exponent
  std::uint32_t max_code;  ///< largest finite code without its sign
  std::uint32_t inf_code;  ///< 0: the format has no infinity
  std::uint32_t nan_code;  ///< the NaN that conversion makes
  std::uint32_t sign_bit;  ///< 0: the format has no sign
  bool unsigned_zero;      ///< fnuz: -0 is not representable, its code means NaN

  /// The largest finite value.
  constexpr float max() const noexcept {
    const auto rebias = static_cast<std::uint32_t>(127 - bias) << 23;
    return std::bit_cast<float>((max_code << (23 - mantissa_bits)) + rebias);
  }
};

/// IEEE 754 binary16.
inline constexpr FloatFormat kFloat16{10, 15, 0x7BFF, 0x7C00, 0x7E00, 0x8000, false};
/// The upper half of a float32.
inline constexpr FloatFormat kBFloat16{7, 127, 0x7F7F, 0x7F80, 0x7FC0, 0x8000, false};

/// The code nearest to `x`, ties to even. Branch-free, so that loops over it vectorise.
template <FloatFormat F>
constexpr std::uint32_t encode(float x, Overflow overflow = Overflow::saturate) noexcept {
  constexpr int kShift = 23 - F.mantissa_bits;
  constexpr std::uint32_t kRebias = static_cast<std::uint32_t>(127 - F.bias) << F.mantissa_bits;
  constexpr std::uint32_t kMinNormal = static_cast<std::uint32_t>(128 - F.bias) << 23;
  // Adding this power of two aligns the sum's last bit with the format's smallest subnormal.
  constexpr float kAlign =
      F.bias < 127
          ? std::bit_cast<float>(static_cast<std::uint32_t>(151 - F.bias - F.mantissa_bits) << 23)
          : 0.0F;

  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
  const std::uint32_t odd = (magnitude >> kShift) & 1U;
  const std::uint32_t rounded = magnitude + ((1U << (kShift - 1)) - 1U) + odd;
  std::uint32_t code = (rounded >> kShift) - kRebias;
  if constexpr (F.bias < 127) {
    // A value too large for this branch is replaced by 0, so that the addition stays exact.
    const std::uint32_t small = magnitude < kMinNormal ? magnitude : 0U;
    const float aligned = std::bit_cast<float>(small) + kAlign;
    const std::uint32_t subnormal =
        std::bit_cast<std::uint32_t>(aligned) - std::bit_cast<std::uint32_t>(kAlign);
    code = magnitude < kMinNormal ? subnormal : code;
  }
  const std::uint32_t beyond = F.inf_code != 0U ? F.inf_code : F.nan_code;
  const std::uint32_t overflowed = overflow == Overflow::saturate ? F.max_code : beyond;
  code = code > F.max_code ? overflowed : code;
  if constexpr (F.inf_code != 0U) code = magnitude == 0x7F800000U ? F.inf_code : code;
  code = magnitude > 0x7F800000U ? F.nan_code : code;
  const std::uint32_t sign = (bits >> 31) * F.sign_bit;
  if constexpr (F.unsigned_zero) {
    return code == 0U || code == F.nan_code ? code : code | sign;
  } else {
    return code | sign;
  }
}

/// The float32 value of a code; exact for every code of every format. Branch-free, so that loops
/// over it vectorise.
template <FloatFormat F>
constexpr float decode(std::uint32_t code) noexcept {
  constexpr std::uint32_t kRebias = static_cast<std::uint32_t>(127 - F.bias) << 23;
  const std::uint32_t magnitude = code & (F.sign_bit - 1U);
  const std::uint32_t sign = (code & F.sign_bit) != 0U ? 0x80000000U : 0U;
  std::uint32_t bits = (magnitude << (23 - F.mantissa_bits)) + kRebias;
  if constexpr (F.bias < 127) {  // bfloat16's subnormals are float32's
    constexpr float kStep =
        std::bit_cast<float>(static_cast<std::uint32_t>(128 - F.bias - F.mantissa_bits) << 23);
    const float subnormal = static_cast<float>(static_cast<std::int32_t>(magnitude)) * kStep;
    const bool normal = (magnitude >> F.mantissa_bits) != 0U;
    bits = normal ? bits : std::bit_cast<std::uint32_t>(subnormal);
  }
  bits = magnitude > F.max_code ? 0x7FC00000U : bits;
  if constexpr (F.inf_code != 0U) bits = magnitude == F.inf_code ? 0x7F800000U : bits;
  if constexpr (F.unsigned_zero) bits = code == F.nan_code ? 0x7FC00000U : bits;
  return std::bit_cast<float>(bits | sign);
}

/// 2^(code - 127); 0xFF is NaN. Code 0 is a float32 subnormal.
constexpr float decode_e8m0(std::uint32_t code) noexcept {
  if (code == 0xFFU) return std::numeric_limits<float>::quiet_NaN();
  return std::bit_cast<float>(code == 0U ? 0x00400000U : code << 23);
}

/// The power of two nearest to `x`; saturates at both ends. A tie goes up: of two neighbouring
/// powers, the larger has the even one-bit significand at the smaller's exponent.
/// NaN and every negative value become NaN (0xFF); 0 becomes the smallest code.
constexpr std::uint32_t encode_e8m0(float x) noexcept {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  if (bits > 0x80000000U || bits > 0x7F800000U) return 0xFFU;
  if (bits < 0x00800000U) return bits >= 0x00600000U ? 1U : 0U;
  const std::uint32_t code = (bits + 0x00400000U) >> 23;
  return code < 0xFEU ? code : 0xFEU;
}

/// The integer nearest to `x`, ties to even, saturated to [low, high]; NaN becomes 0.
template <std::int32_t low, std::int32_t high>
constexpr std::int32_t round_to_int(float x) noexcept {
  if constexpr (low > -(1 << 22) && high < (1 << 22)) {  // branch-free, so that loops vectorise
    constexpr float kAlign = 0x1.8p23F;
    float bounded = x > static_cast<float>(low) ? x : static_cast<float>(low);
    bounded = bounded < static_cast<float>(high) ? bounded : static_cast<float>(high);
    bounded = x == x ? bounded : 0.0F;
    return std::bit_cast<std::int32_t>(bounded + kAlign) - std::bit_cast<std::int32_t>(kAlign);
  } else {
    if (!(x == x)) return 0;
    if (x <= static_cast<float>(low)) return low;
    if (x >= static_cast<float>(high)) return high;
    const auto truncated = static_cast<std::int32_t>(x);  // exact from 2^23 on
    const float rest = x - static_cast<float>(truncated);
    const float distance = rest < 0.0F ? -rest : rest;
    const bool away = distance > 0.5F || (distance == 0.5F && (truncated & 1) != 0);
    return away ? truncated + (rest > 0.0F ? 1 : -1) : truncated;
  }
}

/// To nearest, ties to even, clamped to the type; NaN is 0.
constexpr std::int8_t round_to_int8(float x) noexcept {
  return static_cast<std::int8_t>(round_to_int<-128, 127>(x));
}
/// To nearest, ties to even, clamped to the type; NaN is 0.
constexpr std::uint8_t round_to_uint8(float x) noexcept {
  return static_cast<std::uint8_t>(round_to_int<0, 255>(x));
}
/// To nearest, ties to even, clamped to the type; NaN is 0.
constexpr std::int32_t round_to_int32(float x) noexcept {
  return round_to_int<std::numeric_limits<std::int32_t>::min(),
                      std::numeric_limits<std::int32_t>::max()>(x);
}

namespace detail {
constexpr std::array<float, 256> e8m0_table() noexcept {
  std::array<float, 256> table{};
  for (std::uint32_t code = 0; code < 256; ++code) table[code] = decode_e8m0(code);
  return table;
}
}  // namespace detail

/// The values of all 256 codes of float8_e8m0fnu; those of float8 types: `code_values`.
inline constexpr std::array<float, 256> kE8M0Values = detail::e8m0_table();

}  // namespace octavo
