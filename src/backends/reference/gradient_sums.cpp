// SPDX-License-Identifier: Apache-2.0
// What gradients do to sums, codes and results that saturated, one element at a time.
#include <algorithm>
#include <cmath>

#include "backends/reference/reference.hpp"
#include "core/data/element.hpp"
#include "core/fp_env.hpp"
#include "core/scales/quantize_rules.hpp"
#include "core/scales/scale_values.hpp"

namespace octavo::reference {
namespace {

double& float64_at(const MatrixView& v, std::int64_t i, std::int64_t j) {
  return *static_cast<double*>(v.at(i * v.strides[0] + j * v.strides[1]));
}

void put(const MatrixView& v, std::int64_t i, std::int64_t j, float value,
         Overflow overflow = Overflow::saturate) {
  store_float(v.dtype, v.data, i * v.strides[0] + j * v.strides[1], value, overflow);
}

struct Step {
  bool inside;  ///< the quotient lies in the codes' range
  float slope;
};

// Of codes of a float type: what becomes of the quotient, and how far that is from it.
Step float_code(const LearnedStepProblem& p, float quotient) {
  std::uint8_t code = 0;
  store_float(p.dtype, &code, 0, quotient, p.overflow);
  const float value = load_float(p.dtype, &code, 0);
  const bool inside = std::abs(quotient) <= info(p.dtype).max;
  return {inside, inside ? value - quotient : value};
}

// Of integer codes: rounded, shifted by the zero point, cut to the type's range.
Step integer_code(const LearnedStepProblem& p, float quotient, std::int64_t azp) {
  const double low = lowest_code(p.dtype), high = low + 255.0;
  const double cut = std::clamp(static_cast<double>(quotient), -0x1p31, 0x1p31 - 1.0);
  const double wish = (std::isnan(quotient) ? 0.0 : std::nearbyint(cut)) + static_cast<double>(azp);
  const double value = std::clamp(wish, low, high) - static_cast<double>(azp);
  const bool inside = !std::isnan(quotient) && wish >= low && wish <= high;
  return {inside, static_cast<float>(inside ? value - static_cast<double>(quotient) : value)};
}

}  // namespace

Status mask(const MaskProblem& p, const ExecContext&) noexcept {
  const FloatEnvironment environment;
  for (std::int64_t i = 0; i < p.out.shape[0]; ++i) {
    for (std::int64_t j = 0; j < p.out.shape[1]; ++j) {
      const float result = load_float(p.value, i, j) * factor_at(p.scale, j);
      const bool inside = p.low <= result && result <= p.high;
      put(p.out, i, j, inside ? load_float(p.grad, i, j) : 0.0F);
    }
  }
  return {};
}

Status learned_step(const LearnedStepProblem& p, const ExecContext&) noexcept {
  const FloatEnvironment environment;
  for (std::int64_t i = 0; i < p.x.shape[0]; ++i) {
    for (std::int64_t j = 0; j < p.x.shape[1]; ++j) {
      const float quotient = load_float(p.x, i, j) / scale_at(p.scale, i, j);
      const std::int64_t azp =
          p.azp.defined() ? load_int(p.azp, i / p.scale.rows, j / p.scale.cols) : 0;
      const Step step =
          is_float8(p.dtype) ? float_code(p, quotient) : integer_code(p, quotient, azp);
      if (p.slopes.defined()) put(p.slopes, i, j, step.slope);
      if (p.grad_x.defined()) put(p.grad_x, i, j, step.inside ? load_float(p.grad, i, j) : 0.0F);
    }
  }
  return {};
}

Status dequantize_sums(const DequantizeSumsProblem& p, const ExecContext&) noexcept {
  const FloatEnvironment environment;
  for (std::int64_t i = 0; i < p.plain.shape[0]; ++i) {
    for (std::int64_t j = 0; j < p.plain.shape[1]; ++j) {
      const double plain = float64_at(p.plain, i, j);
      if (p.coded.defined()) {
        float64_at(p.coded, i, j) -= static_cast<double>(load_int(p.azp, i, j)) * plain;
      }
      if (p.azp_gradient.defined()) {
        const auto scale = static_cast<double>(load_float(p.scale, i, j));
        put(p.azp_gradient, i, j, static_cast<float>(-plain * scale));
      }
    }
  }
  return {};
}

Status split_zero_points(const SplitZeroPointsProblem& p, const ExecContext&) noexcept {
  const FloatEnvironment environment;
  for (std::int64_t i = 0; i < p.near.shape[0]; ++i) {
    const std::int64_t azp = load_int(p.azp, i, 0);
    std::int64_t near = azp;
    if (azp < p.low) near = p.low;
    if (azp > p.low + 255) near = p.low + 255;
    store_int32(p.near.data, i * p.near.strides[0], static_cast<std::int32_t>(near));
    put(p.rest, i, 0, static_cast<float>(near - azp));
  }
  return {};
}

Status split_sums(const SplitSumsProblem& p, const ExecContext&) noexcept {
  const FloatEnvironment environment;
  for (std::int64_t i = 0; i < p.pieces.shape[0]; ++i) {
    double rest = float64_at(p.sums, i, 0);
    for (std::int64_t j = 0; j < p.pieces.shape[1]; ++j) {
      put(p.pieces, i, j, static_cast<float>(rest), Overflow::ieee);
      const auto stored = static_cast<double>(load_float(p.pieces, i, j));
      rest = std::isfinite(stored) ? rest - stored : 0.0;
    }
  }
  return {};
}

}  // namespace octavo::reference
