// SPDX-License-Identifier: Apache-2.0
// One element of a static quantiser's gradients (LearnedStepProblem), from its quotient
// q = x / scale.
#pragma once

namespace octavo {

/// Of integer codes [low, low + 255]: whether q + azp lies in their range; the slope is code - azp
/// - q there, code - azp elsewhere. Section 6 in float64, where every step is exact.
constexpr bool integer_step(float quotient, double azp, double low, float& slope) noexcept {
  constexpr double kAlign = 0x1.8p52;
  const double high = low + 255.0;
  const auto q = static_cast<double>(quotient);
  double near = q > -0x1p31 ? q : -0x1p31;
  near = near < 0x1p31 - 1.0 ? near : 0x1p31 - 1.0;
  near = q == q ? near + kAlign - kAlign : 0.0;
  const double wish = near + azp;
  double code = wish > low ? wish : low;
  code = (code < high ? code : high) - azp;
  const bool inside = q == q && wish >= low && wish <= high;
  slope = static_cast<float>(inside ? code - q : code);
  return inside;
}

/// The same of a float8 type with that largest value, `code` being what the quotient became.
constexpr bool float_step(float quotient, float code, float most, float& slope) noexcept {
  const bool inside = quotient >= -most && quotient <= most;
  slope = code - (inside ? quotient : 0.0F);
  return inside;
}

}  // namespace octavo
