// SPDX-License-Identifier: Apache-2.0
// The quantisers as the specification's sections 6 and 8 write them.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "backends/reference/reference.hpp"
#include "core/data/cells.hpp"
#include "core/data/element.hpp"
#include "core/fp_env.hpp"
#include "core/scales/quantize_rules.hpp"

namespace octavo::reference {
namespace {

// What a code loses of w; `largest`: the magnitude from which it counts as saturated.
void add_error(float w, float code, float scale, float largest, CodeErrors& sums) {
  const double value = static_cast<double>(w);
  const double error = value - static_cast<double>(code * scale);
  sums.signal += value * value;
  sums.noise += error * error;
  if (std::abs(error) > sums.largest) sums.largest = std::abs(error);
  if (std::abs(code) >= largest) ++sums.saturated;
  if (!std::isfinite(w)) sums.finite = false;
}

struct Cell {
  std::int64_t r0, r1, c0, c1;
};

CellRange range_of(const MatrixView& x, const Cell& cell) noexcept {
  CellRange range;
  for (std::int64_t r = cell.r0; r < cell.r1; ++r) {
    for (std::int64_t c = cell.c0; c < cell.c1; ++c) {
      const float v = load_float(x, r, c);
      if (!std::isfinite(v)) {
        range.shown = true;
        continue;
      }
      range.absmax = std::max(range.absmax, std::abs(v));
      range.min = std::min(range.min, v);
      range.max = std::max(range.max, v);
    }
  }
  return range;
}

// What the codes' type is converted from. An infinite element is shown where that is asked for; a
// finite one whose quotient is infinite saturates.
float code_of(const QuantizeSpec& spec, float x, float scale, std::int64_t azp) noexcept {
  const float quotient = x / scale;
  if (spec.azp) return shifted_code(spec.dtype, quotient, azp);
  if (!is_float8(spec.dtype)) return quotient;
  const float sign = std::signbit(quotient) ? -1.0F : 1.0F;
  if (std::isinf(x)) {
    const bool keeps = info(spec.dtype).has_inf || spec.non_finite == NonFinite::ignore;
    const float shown =
        keeps ? std::numeric_limits<float>::infinity() : std::numeric_limits<float>::quiet_NaN();
    return std::copysign(shown, sign);
  }
  if (!std::isinf(quotient)) return quotient;
  return std::copysign(std::numeric_limits<float>::max(), sign);
}

void quantize_cell(const QuantizeProblem& q, const Cell& cell, std::int64_t i,
                   std::int64_t j) noexcept {
  const std::int64_t scale_place = i * q.scales.strides[0] + j * q.scales.strides[1];
  if (!q.static_scales) {
    const CellScale s = cell_scale(q.spec, range_of(q.x, cell));
    store_float(q.scales.dtype, q.scales.data, scale_place, s.scale, Overflow::saturate);
    if (q.azp.defined()) {
      store_int32(q.azp.data, i * q.azp.strides[0] + j * q.azp.strides[1], s.azp);
    }
  }
  if (!q.codes.defined() && !q.shown_scales.defined()) return;
  const float scale = load_float(q.scales, i, j);
  const std::int64_t azp = q.azp.defined() ? load_int(q.azp, i, j) : 0;
  if (q.shown_scales.defined()) {
    const bool shown = range_of(q.x, cell).shown;
    const MatrixView& v = q.shown_scales;
    store_float(v.dtype, v.data, i * v.strides[0] + j * v.strides[1],
                shown ? std::numeric_limits<float>::quiet_NaN() : scale, Overflow::saturate);
  }
  for (std::int64_t r = cell.r0; r < cell.r1 && q.codes.defined(); ++r) {
    for (std::int64_t c = cell.c0; c < cell.c1; ++c) {
      const std::int64_t place = r * q.codes.strides[0] + c * q.codes.strides[1];
      const float x = load_float(q.x, r, c);
      store_float(q.codes.dtype, q.codes.data, place, code_of(q.spec, x, scale, azp),
                  q.spec.overflow);
      if (q.errors == nullptr) continue;
      add_error(x, load_float(q.codes, r, c), scale, qmax(q.spec.dtype), *q.errors);
    }
  }
}

}  // namespace

Status quantize(const QuantizeProblem& q, const ExecContext&) noexcept {
  const FloatEnvironment environment;
  const std::int64_t rows = q.x.shape[0];
  const std::int64_t cols = q.x.shape[1];
  for (std::int64_t i = 0; i < q.scales.shape[0]; ++i) {
    for (std::int64_t j = 0; j < q.scales.shape[1]; ++j) {
      const std::int64_t r0 = i == 0 ? 0 : cell_end(rows, q.grid.rows, i - 1);
      const std::int64_t c0 = j == 0 ? 0 : cell_end(cols, q.grid.cols, j - 1);
      quantize_cell(q, {r0, cell_end(rows, q.grid.rows, i), c0, cell_end(cols, q.grid.cols, j)}, i,
                    j);
    }
  }
  return {};
}

Status code_errors(const CodeErrorsProblem& p, const ExecContext&) noexcept {
  const FloatEnvironment environment;
  for (std::int64_t i = 0; i < p.values.shape[0]; ++i) {
    for (std::int64_t j = 0; j < p.values.shape[1]; ++j) {
      const std::int64_t column = p.grid.cols == kWholeExtent ? 0 : j / p.grid.cols;
      const float scale =
          load_float(p.scales, p.grid.rows == kWholeExtent ? 0 : i / p.grid.rows, column);
      add_error(load_float(p.values, i, j), load_float(p.codes, i, j), scale, p.largest, *p.errors);
    }
  }
  return {};
}

Status vectorwise(const VectorwiseProblem& q, const ExecContext&) noexcept {
  const FloatEnvironment environment;
  const std::int64_t rows = q.x.shape[0];
  const std::int64_t cols = q.x.shape[1];
  const auto outlier = [&](float v) { return q.threshold > 0.0F && std::abs(v) >= q.threshold; };
  constexpr std::uint8_t kFound = 1;
  constexpr std::uint8_t kFixed = 2;

  if (q.column_flags != nullptr) {
    std::fill_n(q.column_flags, cols, std::uint8_t{0});
    for (std::int64_t i = 0; i < q.fixed_columns.count; ++i) {
      q.column_flags[q.fixed_columns[i]] = kFixed;
    }
    *q.column_count = 0;
    for (std::int64_t c = 0; c < cols; ++c) {
      for (std::int64_t r = 0; r < rows; ++r) {
        if (outlier(load_float(q.x, r, c))) q.column_flags[c] |= kFound;
      }
      if (q.column_flags[c] != 0) q.columns[(*q.column_count)++] = c;
    }
  }
  const auto flagged = [&](std::int64_t c, bool found_too) {
    const int which = found_too && !q.by_element ? kFixed | kFound : kFixed;
    return q.column_flags != nullptr && (q.column_flags[c] & which) != 0;
  };

  for (std::int64_t r = 0; r < rows; ++r) {
    float absmax = 0.0F;
    bool shown = false;
    for (std::int64_t c = 0; c < cols; ++c) {
      const float v = load_float(q.x, r, c);
      const bool counts = !outlier(v) && !flagged(c, q.whole_columns);
      shown = shown || std::isnan(v) || (counts && std::isinf(v));
      if (counts) absmax = std::max(absmax, std::abs(v));
    }
    if (shown) absmax = std::numeric_limits<float>::quiet_NaN();
    store_float(DType::float32, q.absmax.data, r * q.absmax.strides[0], absmax, Overflow::saturate);
    if (!q.codes.defined()) continue;
    const float factor = vectorwise_factor(absmax);
    const bool zero_row = q.zero_rows != nullptr && q.zero_rows[r] != 0;
    for (std::int64_t c = 0; c < cols; ++c) {
      const float v = load_float(q.x, r, c);
      const bool zero = zero_row || shown || outlier(v) || flagged(c, true);
      const float code = zero ? 0.0F : std::clamp(v * factor, -127.0F, 127.0F);
      store_float(DType::int8, q.codes.data, r * q.codes.strides[0] + c * q.codes.strides[1], code,
                  Overflow::saturate);
      if (q.errors == nullptr) continue;
      add_error(v, load_float(q.codes, r, c), absmax / 127.0F, 127.0F, *q.errors);
    }
  }
  for (std::int64_t c = 0; q.column_flags != nullptr && c < cols; ++c) {
    q.column_flags[c] = flagged(c, true) ? 1 : 0;
  }
  return {};
}

}  // namespace octavo::reference
