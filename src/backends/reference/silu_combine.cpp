// SPDX-License-Identifier: Apache-2.0
// Section 7 to the letter, one element at a time.
#include <algorithm>
#include <cmath>

#include "backends/reference/exponential.hpp"
#include "backends/reference/reference.hpp"
#include "core/data/element.hpp"
#include "core/fp_env.hpp"

namespace octavo::reference {
namespace {

float silu(float x) noexcept {
  if (std::isnan(x)) return x;
  const Exponential e = exponential(std::min(std::fabs(x), kFar));
  const float sum = std::ldexp(e.p, e.n) + 1.0F;
  if (!(x < 0.0F)) return x / sum;
  const float product = std::max(x, -kFar) * e.p;
  return std::ldexp(product / sum, e.n);
}

float slope(float x) noexcept {
  if (std::isnan(x)) return x;
  const Exponential e = exponential(std::min(std::fabs(x), kFar));
  const float power = std::ldexp(e.p, e.n);
  const float sum = power + 1.0F;
  const bool below = x < 0.0F;
  const float s = (below ? e.p : 1.0F) / sum;
  const float t = (below ? 1.0F : power) / sum;
  const float rest = std::clamp(x, -kFar, kFar) * t + 1.0F;
  return below ? std::ldexp(s * rest, e.n) : s * rest;
}

}  // namespace

Status silu_and_mul(const SiluProblem& p, const ExecContext&) noexcept {
  const FloatEnvironment environment;
  const MatrixView& out = p.out;
  const std::int64_t inner = out.shape[1];
  for (std::int64_t r = 0; r < out.shape[0]; ++r) {
    for (std::int64_t i = 0; i < inner; ++i) {
      const float product = silu(load_float(p.x, r, i)) * load_float(p.x, r, inner + i);
      store_float(out.dtype, out.data, r * out.strides[0] + i * out.strides[1], product,
                  p.overflow);
    }
  }
  return {};
}

Status silu_and_mul_vjp(const SiluVjpProblem& p, const ExecContext&) noexcept {
  const FloatEnvironment environment;
  const MatrixView& to = p.grad_x;
  const std::int64_t inner = p.grad.shape[1];
  const auto store = [&](std::int64_t r, std::int64_t i, float value) {
    store_float(to.dtype, to.data, r * to.strides[0] + i * to.strides[1], value, Overflow::ieee);
  };
  for (std::int64_t r = 0; r < p.grad.shape[0]; ++r) {
    for (std::int64_t i = 0; i < inner; ++i) {
      const float grad = load_float(p.grad, r, i);
      const float gate = load_float(p.x, r, i);
      const float product = grad * load_float(p.x, r, inner + i);
      store(r, i, product * slope(gate));
      store(r, inner + i, grad * silu(gate));
    }
  }
  return {};
}

Status combine(const CombineProblem& p, const ExecContext&) noexcept {
  const FloatEnvironment environment;
  const MatrixView& out = p.out;
  for (std::int64_t m = 0; m < out.shape[0]; ++m) {
    for (std::int64_t j = 0; j < out.shape[1]; ++j) {
      float t = 0.0F;
      for (std::int64_t slot = 0; slot < p.slots; ++slot) {
        const std::int64_t place = p.places[m * p.slots + slot];
        if (place < 0) continue;
        float y = load_float(p.rows, place, j);
        if (p.factors != nullptr) y = p.factors[m * p.slots + slot] * y;
        t = t + y;
      }
      store_float(out.dtype, out.data, m * out.strides[0] + j * out.strides[1], t, p.overflow);
    }
  }
  return {};
}

}  // namespace octavo::reference
