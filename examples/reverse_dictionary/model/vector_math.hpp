// SPDX-License-Identifier: Apache-2.0
// The encoder's arithmetic between its linear layers, written so that compilers vectorise it.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

namespace reverse_dictionary {

/// Reductions run over this many lanes in a fixed order, so that the vector width changes no bit.
inline constexpr std::size_t kLanes = 16;

/// e^x within 2e-7 relative for x in [-87, 88]; smaller arguments give e^-87, larger ones e^88.
inline float fast_exp(float x) {
  constexpr float kLog2E = 0x1.715476p0F;
  constexpr float kLn2High = 0x1.62e4p-1F;  // few enough bits that n * kLn2High is exact
  constexpr float kLn2Low = 0x1.7f7d1cp-20F;
  constexpr float kRound = 0x1.8p23F;  // adding it rounds to an integer in the low bits
  x = x > -87.0F ? x : -87.0F;
  x = x < 88.0F ? x : 88.0F;
  const float shifted = x * kLog2E + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * kLn2High) - n * kLn2Low;  // |r| <= ln(2) / 2
  float power = 1.0F / 5040.0F;
  for (const float coefficient :
       {1.0F / 720.0F, 1.0F / 120.0F, 1.0F / 24.0F, 1.0F / 6.0F, 0.5F, 1.0F, 1.0F}) {
    power = power * r + coefficient;
  }
  const auto exponent = std::bit_cast<std::uint32_t>(shifted) << 23;
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(power) + exponent);
}

/// x * Phi(x), the exact GELU, within 5e-7.
///
/// It is max(x, 0) - |x| Q(|x|) with the normal distribution's tail Q(a) = 1 / (2 p(a)^16);
/// tools/fit_gelu.py found p. Where p^16 overflows, the tail is 0 as it should be.
inline float fast_gelu(float x) {
  const float a = x < 0.0F ? -x : x;
  float p = 8.1689808e-07F;
  for (const float coefficient : {-2.0735847e-06F, 7.4786461e-05F, -5.1502243e-06F, 3.3133023e-03F,
                                  2.1127515e-02F, 4.9869098e-02F, 1.0F}) {
    p = p * a + coefficient;
  }
  p *= p;
  p *= p;
  p *= p;
  p *= p;
  const float positive = x > 0.0F ? x : 0.0F;
  return positive - 0.5F * a / p;
}

/// values[i] = GELU(values[i]).
void gelu(std::span<float> values);

// The functions below take rows whose length is a multiple of kLanes.

/// What a LayerNorm of `gain.size()` features was trained to.
struct LayerNorm {
  std::span<const float> gain;
  std::span<const float> bias;
  float epsilon;
};

/// out = LayerNorm(x + residual); `out` may be `residual`.
void add_layer_norm(const float* x, const float* residual, const LayerNorm& norm, float* out);

/// x / max(|x|, 1e-12) in place.
void l2_normalize(std::span<float> values);

/// The dot product; `b` must be as long as `a`.
float dot(std::span<const float> a, std::span<const float> b);

}  // namespace reverse_dictionary
