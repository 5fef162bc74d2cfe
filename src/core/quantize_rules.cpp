// SPDX-License-Identifier: Apache-2.0
// Scales and zero points from a cell's range.
#include "core/quantize_rules.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>

#include "core/convert.hpp"
#include "core/element.hpp"
#include "core/error.hpp"
#include "core/parallel.hpp"
#include "octavo/numeric.hpp"

namespace octavo {
namespace {

constexpr float kSmallestScale = 0x1p-126F;

// The exponent of the largest normal number: OCP MX 1.0, table 1.
int max_exponent(DType dtype) noexcept { return std::ilogb(qmax(dtype)); }

// The smallest power of two that is at least x, from the exponent bits. x is positive and normal.
float power_of_two_above(float x) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  return std::bit_cast<float>((bits + 0x007FFFFFU) & 0x7F800000U);
}

float mx_scale(DType dtype, float absmax) noexcept {
  const int exponent = std::ilogb(absmax) - max_exponent(dtype);
  return std::ldexp(1.0F, std::max(exponent, -126));
}

CellScale affine_scale(const QuantizeSpec& spec, const CellRange& range) noexcept {
  const float low = std::min(range.min, 0.0F);
  const float high = std::max(range.max, 0.0F);
  const float qmin = spec.dtype == DType::int8 ? -128.0F : 0.0F;
  if (low == 0.0F && high == 0.0F) return {1.0F, static_cast<std::int32_t>(qmin)};
  float scale = (high - low) / 255.0F;
  if (std::isinf(scale)) scale = high / 255.0F - low / 255.0F;
  scale = std::max({scale, spec.min_scale, kSmallestScale});
  return {scale, round_to_int32(qmin - low / scale)};
}

bool finite_row(const TensorView& x, std::int64_t i) noexcept {
  constexpr std::int64_t kPiece = 512;
  std::array<float, kPiece> piece;
  for (std::int64_t j = 0; j < x.shape[1]; j += kPiece) {
    const std::int64_t count = std::min(kPiece, x.shape[1] - j);
    load_row(x.dtype, x.at(i * x.strides[0] + j * x.strides[1]), x.strides[1], count, piece.data());
    std::int32_t most = 0;
    for (std::int64_t k = 0; k < count; ++k) {
      const auto bits = std::bit_cast<std::int32_t>(piece[static_cast<std::size_t>(k)]);
      most = std::max(most, bits & 0x7FFFFFFF);
    }
    if (most >= 0x7F800000) return false;
  }
  return true;
}

}  // namespace

float qmax(DType dtype) noexcept { return info(dtype).max; }

CellScale cell_scale(const QuantizeSpec& spec, const CellRange& range) noexcept {
  if (spec.azp) return affine_scale(spec, range);
  const float absmax = std::min(range.absmax, spec.scale_ub);
  if (absmax == 0.0F) return {std::max(1.0F, spec.min_scale), 0};
  if (spec.rounding == ScaleRounding::mx_floor) return {mx_scale(spec.dtype, absmax), 0};
  const float scale = std::max({absmax / qmax(spec.dtype), spec.min_scale, kSmallestScale});
  return {spec.rounding == ScaleRounding::power_of_two ? power_of_two_above(scale) : scale, 0};
}

float shifted_code(DType dtype, float quotient, std::int64_t azp) noexcept {
  const std::int64_t low = dtype == DType::int8 ? -128 : 0;
  const std::int64_t code = std::int64_t{round_to_int32(quotient)} + azp;
  return static_cast<float>(std::clamp(code, low, low + 255));
}

Status check_finite(const char* operation, const TensorView& x,
                    const ExecContext& context) noexcept {
  const std::int64_t rows = x.shape[0];
  const std::int64_t bands = std::clamp<std::int64_t>(executor_of(context).concurrency(), 1,
                                                      std::max<std::int64_t>(rows, 1));
  std::atomic<std::int64_t> first{rows};
  parallel_for(context, bands, [&](std::int64_t band) {
    const std::int64_t end = rows * (band + 1) / bands;
    for (std::int64_t i = rows * band / bands; i < std::min(end, first.load()); ++i) {
      if (finite_row(x, i)) continue;
      std::int64_t known = first.load();
      while (i < known && !first.compare_exchange_weak(known, i)) {
      }
    }
  });
  const std::int64_t i = first.load();
  for (std::int64_t j = 0; i < rows && j < x.shape[1]; ++j) {
    const float value = load_float(x, i, j);
    if (std::isfinite(value)) continue;
    return fail(Code::invalid_argument, "{}: x[{}, {}] must be finite; got {}", operation, i, j,
                value);
  }
  return {};
}

float vectorwise_factor(float absmax) noexcept {
  return absmax < 0x1p-121F ? 0.0F : 127.0F / absmax;
}

}  // namespace octavo
