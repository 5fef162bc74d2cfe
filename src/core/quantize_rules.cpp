// SPDX-License-Identifier: Apache-2.0
// Scales and zero points from a cell's range.
#include "core/quantize_rules.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

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

// 2^(floor(log2 absmax) - exponent), at least 2^-126, from the exponent bits.
float mx_scale(float absmax, std::int32_t exponent) noexcept {
  const std::int32_t biased = (std::bit_cast<std::int32_t>(absmax) >> 23) - exponent;
  return std::bit_cast<float>((biased > 1 ? biased : 1) << 23);
}

template <class Rule>
void each_scale(const QuantizeSpec& spec, const float* absmax, std::int64_t count, float* scales,
                const Rule& rule) noexcept {
  const float bound = spec.scale_ub;
  const float of_zero = spec.min_scale > 0.0F ? rule(0.0F) : 1.0F;
  for (std::int64_t i = 0; i < count; ++i) {
    const float most = bound < absmax[i] ? bound : absmax[i];
    const float scale = rule(most);
    scales[i] = most == 0.0F ? of_zero : scale;
  }
}

// The range's own length in 255 steps; steps so short that a zero point would leave 32 bits are
// not.
CellScale affine_scale(const QuantizeSpec& spec, const CellRange& range) noexcept {
  float low = range.min;
  float high = range.max;
  const std::int32_t qmin = lowest_code(spec.dtype);
  if (!(low <= high) || (low == 0.0F && high == 0.0F)) return {1.0F, qmin};
  if (spec.widen) {
    low = std::min(low, 0.0F);
    high = std::max(high, 0.0F);
  }
  const float least = std::max(spec.min_scale, kSmallestScale);
  if (low == high && std::abs(low) >= least) return {std::abs(low), low > 0.0F ? qmin : qmin + 1};
  float scale = (high - low) / 255.0F;
  if (std::isinf(scale)) scale = high / 255.0F - low / 255.0F;
  scale = std::max({scale, std::max(std::abs(low), std::abs(high)) * 0x1p-30F, least});
  return {scale, round_to_int32(static_cast<float>(qmin) - low / scale)};
}

// The largest magnitude of neighbours, as an integer of their width: NaN is above infinity.
template <class Element>
Element largest_magnitude(const void* elements, std::int64_t count) noexcept {
  const auto* x = static_cast<const char*>(elements);
  Element most = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    Element bits;
    std::memcpy(&bits, x + i * std::int64_t{sizeof(bits)}, sizeof(bits));
    const auto magnitude = static_cast<Element>(bits & std::numeric_limits<Element>::max());
    most = magnitude > most ? magnitude : most;
  }
  return most;
}

bool finite_row(const MatrixView& x, std::int64_t i) noexcept {
  constexpr std::int64_t kPiece = 512;
  const std::int64_t cols = x.shape[1];
  const void* row = x.at(i * x.strides[0]);
  if (x.strides[1] == 1 && x.dtype == DType::bfloat16) {
    return largest_magnitude<std::int16_t>(row, cols) < 0x7F80;
  }
  if (x.strides[1] == 1 && x.dtype == DType::float16) {
    return largest_magnitude<std::int16_t>(row, cols) < 0x7C00;
  }
  std::array<float, kPiece> piece;
  for (std::int64_t j = 0; j < cols; j += kPiece) {
    const std::int64_t count = std::min(kPiece, cols - j);
    load_row(x.dtype, x.at(i * x.strides[0] + j * x.strides[1]), x.strides[1], count, piece.data());
    if (largest_magnitude<std::int32_t>(piece.data(), count) >= 0x7F800000) return false;
  }
  return true;
}

}  // namespace

float qmax(DType dtype) noexcept { return info(dtype).max; }

void symmetric_scales(const QuantizeSpec& spec, const float* absmax, std::int64_t count,
                      float* scales) noexcept {
  if (spec.rounding == ScaleRounding::mx_floor) {
    const std::int32_t exponent = max_exponent(spec.dtype);
    return each_scale(spec, absmax, count, scales,
                      [=](float most) { return mx_scale(most, exponent); });
  }
  const float aim = spec.qmax > 0.0F ? spec.qmax : qmax(spec.dtype);
  const float least = std::max(spec.min_scale, kSmallestScale);
  const auto quotient = [=](float most) {
    const float scale = most / aim;
    return scale < least ? least : scale;
  };
  if (spec.rounding == ScaleRounding::none) {
    return each_scale(spec, absmax, count, scales, quotient);
  }
  each_scale(spec, absmax, count, scales,
             [=](float most) { return power_of_two_above(quotient(most)); });
}

CellScale cell_scale(const QuantizeSpec& spec, const CellRange& range) noexcept {
  if (range.shown && scale_shows_non_finite(spec)) {
    return {std::numeric_limits<float>::quiet_NaN(), 0};
  }
  if (spec.azp) return affine_scale(spec, range);
  CellScale cell;
  symmetric_scales(spec, &range.absmax, 1, &cell.scale);
  return cell;
}

float shifted_code(DType dtype, float quotient, std::int64_t azp) noexcept {
  const std::int64_t low = lowest_code(dtype);
  const std::int64_t code = std::int64_t{round_to_int32(quotient)} + azp;
  return static_cast<float>(std::clamp(code, low, low + 255));
}

Status check_finite(const char* operation, const MatrixView& x,
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

bool rows_apart(const ActivationQuant& rule) noexcept {
  return rule.vectorwise || rule.static_scale > 0.0F ||
         scale_grid(rule.spec.granularity, Side::a).rows == 1;
}

float vectorwise_factor(float absmax) noexcept {
  return absmax < 0x1p-121F ? 0.0F : 127.0F / absmax;
}

}  // namespace octavo
