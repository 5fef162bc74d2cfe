// SPDX-License-Identifier: Apache-2.0
// The exponential of section 7, which silu_and_mul and attention share.
#pragma once

#include <cmath>

namespace octavo::reference {

inline constexpr float kFar = 128.0F;

/// e^-a = p 2^n for a in [0, kFar].
struct Exponential {
  float p;
  int n;
};
inline Exponential exponential(float a) noexcept {
  const float quotient = a * -0x1.715476p+0F;
  const float n = std::nearbyint(quotient);
  const float front = -a - n * 0x1.62e4p-1F;
  const float f = front - n * 0x1.7f7d1cp-20F;
  float q = 0x1.6a5056p-10F;
  for (const float c : {0x1.123974p-7F, 0x1.5558acp-5F, 0x1.555492p-3F, 0x1.fffffcp-2F}) {
    q = q * f;
    q = q + c;
  }
  const float square = f * f;
  const float tail = q * square + f;
  return {tail + 1.0F, static_cast<int>(n)};
}

}  // namespace octavo::reference
