// SPDX-License-Identifier: Apache-2.0
// Scales and zero points from a cell's range.
#include "core/scales/quantize_rules.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/data/convert.hpp"
#include "core/data/element.hpp"
#include "core/error.hpp"
#include "core/threads/parallel.hpp"
#include "octavo/numeric.hpp"

namespace octavo {
namespace {

constexpr float kSmallestScale = 0x1p-126F;

// The exponent of the largest normal number: OCP MX 1.0, table 1.
int max_exponent(DType dtype) noexcept { return std::ilogb(qmax(dtype)); }

template <ScaleRounding rounding>
void each_scale(const ScaleRule& given, const float* absmax, std::int64_t count,
                float* scales) noexcept {
  const ScaleRule rule = given;  // which no scale can overwrite
  for (std::int64_t i = 0; i < count; ++i) scales[i] = symmetric_scale<rounding>(rule, absmax[i]);
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

ScaleRule scale_rule(const QuantizeSpec& spec) noexcept {
  ScaleRule rule;
  rule.rounding = spec.rounding;
  rule.aim = spec.qmax > 0.0F ? spec.qmax : qmax(spec.dtype);
  rule.exponent = max_exponent(spec.dtype);
  rule.bound = spec.scale_ub;
  rule.least = std::max(spec.min_scale, kSmallestScale);
  rule.lowest = lowest_code(spec.dtype);
  rule.azp = spec.azp;
  rule.widen = spec.widen;
  rule.shows = scale_shows_non_finite(spec);
  if (spec.min_scale > 0.0F) {
    rule.of_zero = spec.rounding == ScaleRounding::mx_floor       ? mx_scale(0.0F, rule.exponent)
                   : spec.rounding == ScaleRounding::power_of_two ? power_of_two_above(rule.least)
                                                                  : rule.least;
  }
  return rule;
}

void symmetric_scales(const QuantizeSpec& spec, const float* absmax, std::int64_t count,
                      float* scales) noexcept {
  const ScaleRule rule = scale_rule(spec);
  switch (spec.rounding) {
    case ScaleRounding::mx_floor:
      return each_scale<ScaleRounding::mx_floor>(rule, absmax, count, scales);
    case ScaleRounding::power_of_two:
      return each_scale<ScaleRounding::power_of_two>(rule, absmax, count, scales);
    case ScaleRounding::none:
      return each_scale<ScaleRounding::none>(rule, absmax, count, scales);
  }
}

CellScale cell_scale(const QuantizeSpec& spec, const CellRange& range) noexcept {
  return cell_scale(scale_rule(spec), range);
}

float shifted_code(DType dtype, float quotient, std::int64_t azp) noexcept {
  return static_cast<float>(shifted_code(lowest_code(dtype), quotient, azp));
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

}  // namespace octavo
