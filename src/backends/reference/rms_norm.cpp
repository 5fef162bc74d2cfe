// SPDX-License-Identifier: Apache-2.0
// Section 7's rms_norm to the letter, one element at a time.
#include <array>
#include <cmath>

#include "backends/reference/reference.hpp"
#include "core/data/element.hpp"
#include "core/fp_env.hpp"

namespace octavo::reference {
namespace {

float sum_of(const RmsNormProblem& p, std::int64_t r, std::int64_t j) noexcept {
  const float x = load_float(p.x, r, j);
  return p.residual.defined() ? x + load_float(p.residual, r, j) : x;
}

void store(const MatrixView& to, std::int64_t r, std::int64_t j, float value) noexcept {
  store_float(to.dtype, to.data, r * to.strides[0] + j * to.strides[1], value, Overflow::saturate);
}

float rounded_to(DType dtype, float value) noexcept {
  std::array<char, 4> bytes{};
  store_float(dtype, bytes.data(), 0, value, Overflow::saturate);
  return load_float(dtype, bytes.data(), 0);
}

}  // namespace

Status rms_norm(const RmsNormProblem& p, const ExecContext&) noexcept {
  const FloatEnvironment environment;
  const std::int64_t columns = p.x.shape[1];
  for (std::int64_t r = 0; r < p.x.shape[0]; ++r) {
    std::array<double, static_cast<std::size_t>(kNormSums)> sums{};
    for (std::int64_t j = 0; j < columns; ++j) {
      const auto s = static_cast<double>(sum_of(p, r, j));
      sums[static_cast<std::size_t>(j % kNormSums)] += s * s;
    }
    for (std::size_t half = kNormSums / 2; half > 0; half /= 2) {
      for (std::size_t i = 0; i < half; ++i) sums[i] += sums[i + half];
    }
    const double mean = sums[0] / static_cast<double>(columns);
    const auto factor = static_cast<float>(1.0 / std::sqrt(mean + static_cast<double>(p.epsilon)));
    for (std::int64_t j = 0; j < columns; ++j) {
      const float s = sum_of(p, r, j);
      if (p.residual.defined()) store(p.residual, r, j, s);
      float t = s * factor;
      if (p.weight.defined()) t = rounded_to(p.weight.dtype, t) * load_float(p.weight, 0, j);
      store(p.out, r, j, t);
    }
  }
  return {};
}

}  // namespace octavo::reference
