// SPDX-License-Identifier: Apache-2.0
// The scalar rules of the specification's sections 6 and 8 in constant expressions: what the host
// and the kernels of a device share.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

#include "octavo/numeric.hpp"
#include "octavo/quantize.hpp"

namespace octavo {

/// What a cell's finite elements reach; min > max for a cell without any.
struct CellRange {
  float absmax = 0.0F;
  float min = std::numeric_limits<float>::infinity();
  float max = -std::numeric_limits<float>::infinity();
  bool shown = false;  ///< a NaN or an infinity is among the elements
};

struct CellScale {
  float scale = 1.0F;
  std::int32_t azp = 0;
};

/// What of a QuantizeSpec scales depend on, in numbers (`scale_rule` makes it).
struct ScaleRule {
  ScaleRounding rounding = ScaleRounding::none;
  float aim = 1.0F;                                      ///< the magnitude that scales aim at
  std::int32_t exponent = 0;                             ///< of the type's largest value
  float bound = std::numeric_limits<float>::infinity();  ///< of absmax
  float least = 0x1p-126F;                               ///< scale
  float of_zero = 1.0F;                                  ///< the scale where absmax is 0
  std::int32_t lowest = 0;                               ///< code
  bool azp = false;
  bool widen = false;
  bool shows = false;  ///< the scale of a cell with a NaN or an infinity is NaN
};

constexpr float magnitude_of(float x) noexcept {
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) & 0x7FFFFFFFU);
}

/// absmax / aim, at least the least scale.
constexpr float scale_quotient(const ScaleRule& rule, float absmax) noexcept {
  const float scale = absmax / rule.aim;
  return scale < rule.least ? rule.least : scale;
}

/// The smallest power of two that is at least x, from the exponent bits. x is positive and normal.
constexpr float power_of_two_above(float x) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  return std::bit_cast<float>((bits + 0x007FFFFFU) & 0x7F800000U);
}

/// 2^(floor(log2 absmax) - exponent), at least 2^-126, from the exponent bits.
constexpr float mx_scale(float absmax, std::int32_t exponent) noexcept {
  const std::int32_t biased = (std::bit_cast<std::int32_t>(absmax) >> 23) - exponent;
  return std::bit_cast<float>((biased > 1 ? biased : 1) << 23);
}

/// The scale of a symmetric cell whose finite elements reach `absmax`, by a rounding.
template <ScaleRounding rounding>
constexpr float symmetric_scale(const ScaleRule& rule, float absmax) noexcept {
  const float most = rule.bound < absmax ? rule.bound : absmax;
  float scale = 0.0F;
  if constexpr (rounding == ScaleRounding::mx_floor) {
    scale = mx_scale(most, rule.exponent);
  } else if constexpr (rounding == ScaleRounding::power_of_two) {
    scale = power_of_two_above(scale_quotient(rule, most));
  } else {
    scale = scale_quotient(rule, most);
  }
  return most == 0.0F ? rule.of_zero : scale;
}
constexpr float symmetric_scale(const ScaleRule& rule, float absmax) noexcept {
  if (rule.rounding == ScaleRounding::mx_floor)
    return symmetric_scale<ScaleRounding::mx_floor>(rule, absmax);
  if (rule.rounding == ScaleRounding::power_of_two)
    return symmetric_scale<ScaleRounding::power_of_two>(rule, absmax);
  return symmetric_scale<ScaleRounding::none>(rule, absmax);
}

/// The range's own length in 255 steps; steps so short that a zero point would leave 32 bits are
/// not.
constexpr CellScale affine_scale(const ScaleRule& rule, float low, float high) noexcept {
  constexpr float kInfinite = std::numeric_limits<float>::infinity();
  if (!(low <= high) || (low == 0.0F && high == 0.0F)) return {1.0F, rule.lowest};
  if (rule.widen) {
    low = low < 0.0F ? low : 0.0F;
    high = high > 0.0F ? high : 0.0F;
  }
  const float near = magnitude_of(low), far = magnitude_of(high);
  if (low == high && near >= rule.least) return {near, low > 0.0F ? rule.lowest : rule.lowest + 1};
  float scale = (high - low) / 255.0F;
  if (scale == kInfinite) scale = high / 255.0F - low / 255.0F;
  const float finest = (near > far ? near : far) * 0x1p-30F;
  scale = scale > finest ? scale : finest;
  scale = scale > rule.least ? scale : rule.least;
  return {scale, round_to_int32(static_cast<float>(rule.lowest) - low / scale)};
}

/// The scale (and zero point) of a cell.
constexpr CellScale cell_scale(const ScaleRule& rule, const CellRange& range) noexcept {
  if (range.shown && rule.shows) return {std::numeric_limits<float>::quiet_NaN(), 0};
  if (rule.azp) return affine_scale(rule, range.min, range.max);
  return {symmetric_scale(rule, range.absmax), 0};
}

/// saturate(RNE(quotient) + azp) to the 256 codes from `lowest` on; NaN rounds to 0 first.
constexpr std::int64_t shifted_code(std::int32_t lowest, float quotient,
                                    std::int64_t azp) noexcept {
  const std::int64_t low = lowest;
  const std::int64_t code = std::int64_t{round_to_int32(quotient)} + azp;
  if (code < low) return low;
  return code > low + 255 ? low + 255 : code;
}

/// 127 / absmax, and 0 where absmax < 2^-121 (the factor would be infinite or imprecise).
constexpr float vectorwise_factor(float absmax) noexcept {
  return absmax < 0x1p-121F ? 0.0F : 127.0F / absmax;
}

}  // namespace octavo
