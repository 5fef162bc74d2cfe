// SPDX-License-Identifier: Apache-2.0
// Section 7: silu(x) = x / (1 + e^-x) times a second half, in float32, each step rounded.
//
//     out[r, i] = cast(silu(x[r, i]) * x[r, I + i])
//
// A thread an element of out.
#pragma once

#include "backends/cuda/kernels/common/elements.hpp"
#include "backends/cuda/kernels/common/octet.hpp"
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

constexpr float kSiluFar = 128.0F;

/// e^-a = p 2^n of a = min(|x|, 128).
struct Exponential {
  float p;
  std::int32_t n;
};
OCTAVO_HOST_DEVICE constexpr Exponential exponential(float x) {
  constexpr float kRound = 0x1.8p23F;  // a number below 2^22 added to it has no fraction
  const float magnitude = std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) & 0x7FFFFFFFU);
  const float a = magnitude < kSiluFar ? magnitude : kSiluFar;
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
  return {tail + 1.0F, static_cast<std::int32_t>(n)};
}

OCTAVO_HOST_DEVICE constexpr float silu(float x) {
  if (!(x == x)) return x;
  const Exponential e = exponential(x);
  const float sum = scaled_down(e.p, e.n) + 1.0F;
  if (!(x < 0.0F)) return x / sum;
  const float product = (x > -kSiluFar ? x : -kSiluFar) * e.p;
  return scaled_down(product / sum, e.n);
}

/// The slope of silu: s (1 + x t) with s = 1 / (1 + e^-x), t = 1 - s.
OCTAVO_HOST_DEVICE constexpr float silu_slope(float x) {
  if (!(x == x)) return x;
  const Exponential e = exponential(x);
  const float power = scaled_down(e.p, e.n);
  const float sum = power + 1.0F;
  const bool below = x < 0.0F;
  const float s = (below ? e.p : 1.0F) / sum;
  const float t = (below ? 1.0F : power) / sum;
  const float low = x > -kSiluFar ? x : -kSiluFar;
  const float near = low < kSiluFar ? low : kSiluFar;
  const float slope = s * (near * t + 1.0F);
  return below ? scaled_down(slope, e.n) : slope;
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

/// The gradient of the above, a thread an element of grad:
///
///     grad_x[r, i] = grad[r, i] * x[r, I + i] * slope(x[r, i])
///     grad_x[r, I + i] = grad[r, i] * silu(x[r, i])
struct SiluVjpKernel {
  struct Params {
    MatrixView grad;    ///< [R, I]
    MatrixView x;       ///< [R, 2 I]
    MatrixView grad_x;  ///< [R, 2 I]
    Plane plane;
  };
  static constexpr std::uint32_t kThreads = 256, kSharedBytes = 0;

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const Params& p) {
    each_place(m, kThreads, p.plane, [&](std::int64_t r, std::int64_t i) {
      const std::int64_t inner = p.grad.shape[1];
      const auto of_x = [&](std::int64_t column) {
        return read_wide(m, p.x.dtype, p.x.data, r * p.x.strides[0] + column * p.x.strides[1]);
      };
      const float grad =
          read_wide(m, p.grad.dtype, p.grad.data, r * p.grad.strides[0] + i * p.grad.strides[1]);
      const float gate = of_x(i);
      const float product = product_of(grad, of_x(inner + i));
      write_float(m, p.grad_x, r, i, product_of(product, silu_slope(gate)), Overflow::ieee);
      write_float(m, p.grad_x, r, inner + i, product_of(grad, silu(gate)), Overflow::ieee);
    });
  }
};

}  // namespace octavo::cuda
