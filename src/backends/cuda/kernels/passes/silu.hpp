// SPDX-License-Identifier: Apache-2.0
// Section 7: silu(x) = x / (1 + e^-x) times a second half, in float32, each step rounded.
//
//     out[r, i] = cast(silu(x[r, i]) * x[r, I + i])
//
// A thread an element of out.
#pragma once

#include "backends/cuda/kernels/elements.hpp"
#include "backends/cuda/kernels/passes/octet.hpp"
#include "backends/cuda/kernels/passes/places.hpp"

namespace octavo::cuda {

/// 2^n of normal numbers.
OCTAVO_HOST_DEVICE constexpr float power_of_two(std::int32_t n) {
  return std::bit_cast<float>((n + 127) << 23);
}
/// x * 2^n rounded once, n in [-200, 0] and x * 2^-100 normal where n is not 0.
OCTAVO_HOST_DEVICE constexpr float scaled_down(float x, std::int32_t n) {
  const std::int32_t first = n < -100 ? -100 : 0;  // exact
  return x * power_of_two(first) * power_of_two(n - first);
}

OCTAVO_HOST_DEVICE constexpr float silu(float x) {
  constexpr float kFar = 128.0F;
  constexpr float kRound = 0x1.8p23F;  // a number below 2^22 added to it has no fraction
  if (!(x == x)) return x;
  const float magnitude = std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) & 0x7FFFFFFFU);
  const float a = magnitude < kFar ? magnitude : kFar;
  const float n = a * -0x1.715476p+0F + kRound - kRound;
  const float front = -a - n * 0x1.62e4p-1F;
  const float f = front - n * 0x1.7f7d1cp-20F;
  float q = 0x1.6a5056p-10F;
  q = q * f + 0x1.123974p-7F;
  q = q * f + 0x1.5558acp-5F;
  q = q * f + 0x1.555492p-3F;
  q = q * f + 0x1.fffffcp-2F;
  const float square = f * f;
  const float tail = q * square + f;
  const float p = tail + 1.0F;
  const auto power = static_cast<std::int32_t>(n);
  const float sum = scaled_down(p, power) + 1.0F;
  if (!(x < 0.0F)) return x / sum;
  const float product = (x > -kFar ? x : -kFar) * p;
  return scaled_down(product / sum, power);
}

/// a * b. A NaN keeps its sign, which a device's product does not.
OCTAVO_HOST_DEVICE constexpr float product_of(float a, float b) {
  const float product = a * b;
  if (product == product) return product;
  if (a != a) return a;
  return b != b ? b : product;
}

struct SiluKernel {
  struct Params {
    MatrixView x;    ///< [R, 2 I]
    MatrixView out;  ///< [R, I]
    Overflow overflow = Overflow::saturate;
    Plane plane;
  };
  static constexpr std::uint32_t kThreads = 256, kSharedBytes = 0;

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const Params& p) {
    each_place(m, kThreads, p.plane, [&](std::int64_t r, std::int64_t i) {
      const std::int64_t gate = r * p.x.strides[0] + i * p.x.strides[1];
      const float up = read_wide(m, p.x.dtype, p.x.data, gate + p.out.shape[1] * p.x.strides[1]);
      const float product = product_of(silu(read_wide(m, p.x.dtype, p.x.data, gate)), up);
      write_float(m, p.out, r, i, product, p.overflow);
    });
  }
};

}  // namespace octavo::cuda
