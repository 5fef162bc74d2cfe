// SPDX-License-Identifier: Apache-2.0
// The quantisers of the specification's section 6 as scalar loops, independent of the library.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "ops/helpers.hpp"

namespace octavo::test {

/// The largest magnitude a scale aims at.
inline double aim(DType dtype) { return is_float8(dtype) ? double{info(dtype).max} : 127.0; }

inline const std::array<float, 256>& decoded(DType dtype) { return code_values(dtype); }

/// The code nearest to x by searching all magnitudes; ties to the even code, beyond the end to the
/// largest, infinities included; -1 for NaN.
inline int nearest_float8(DType dtype, float x) {
  if (std::isnan(x)) return -1;
  const bool fnuz = info(dtype).format.unsigned_zero;
  const int sign = std::signbit(x) ? 0x80 : 0;
  const double magnitude = std::min(std::abs(static_cast<double>(x)), aim(dtype));
  int best = 0;
  double distance = std::numeric_limits<double>::infinity();
  for (int code = 0; code < 0x80; ++code) {
    const double value = static_cast<double>(decoded(dtype)[static_cast<std::size_t>(code)]);
    if (!std::isfinite(value)) continue;
    const double d = std::abs(value - magnitude);
    if (d < distance || (d == distance && code % 2 == 0)) {
      best = code;
      distance = d;
    }
  }
  return fnuz && best == 0 ? 0 : sign | best;
}

inline int nearest_int(DType dtype, double x) {
  if (std::isnan(x)) return 0;
  const double low = dtype == int8 ? -128.0 : 0.0;
  return static_cast<int>(std::nearbyint(std::min(std::max(x, low), low + 255.0)));
}

struct CellExpected {
  float scale = 1.0F;
  std::int64_t azp = 0;
};

/// The scale of the listed elements.
inline CellExpected expected_cell(const std::vector<float>& x, const QuantizeOptions& o) {
  std::vector<float> finite;
  for (const float v : x) {
    if (std::isfinite(v)) finite.push_back(v);
  }
  const bool ignored = is_float8(o.dtype) || o.non_finite == NonFinite::ignore;
  if (finite.size() != x.size() && !ignored) return {std::nanf(""), 0};
  const auto [least, most] = std::minmax_element(finite.begin(), finite.end());
  float low = finite.empty() ? 0.0F : *least;
  float high = finite.empty() ? 0.0F : *most;
  float absmax = std::fmax(std::fabs(low), std::fabs(high));
  const float smallest = 0x1p-126F;
  if (o.azp) {
    const float qmin = o.dtype == int8 ? -128.0F : 0.0F;
    const auto first = static_cast<std::int64_t>(qmin);
    if (absmax == 0.0F) return {1.0F, first};
    if (o.widen) {
      low = std::fmin(low, 0.0F);
      high = std::fmax(high, 0.0F);
    } else if (low == high && absmax >= std::fmax(o.min_scale, smallest)) {
      return {absmax, low > 0.0F ? first : first + 1};
    }
    float s = (high - low) / 255.0F;
    if (std::isinf(s)) s = high / 255.0F - low / 255.0F;
    s = std::fmax(std::fmax(s, absmax * 0x1p-30F), std::fmax(o.min_scale, smallest));
    return {s, static_cast<std::int64_t>(std::nearbyintf(qmin - low / s))};
  }
  absmax = std::fmin(absmax, o.scale_ub);
  if (absmax == 0.0F && !(o.min_scale > 0.0F)) return {1.0F, 0};
  int exponent = 0;
  if (o.rounding == ScaleRounding::mx_floor) {
    int top = 0;
    (void)std::frexp(static_cast<double>(absmax), &exponent);
    (void)std::frexp(aim(o.dtype), &top);
    return {static_cast<float>(std::exp2(std::max(exponent - top, -126))), 0};
  }
  float s = absmax / (o.qmax > 0.0F ? o.qmax : static_cast<float>(aim(o.dtype)));
  s = std::fmax(std::fmax(s, o.min_scale), smallest);
  if (o.rounding == ScaleRounding::power_of_two) {
    const double fraction = std::frexp(static_cast<double>(s), &exponent);
    s = static_cast<float>(std::exp2(fraction == 0.5 ? exponent - 1 : exponent));
  }
  return {s, 0};
}

/// Compares every scale, zero point and code of a dynamic quantisation with the scalar loops.
inline void expect_section6(const TensorView& x, const QuantizeOptions& o, const Quantized& got) {
  const ScaleGrid grid = scale_grid(o.granularity, o.side);
  EXPECT_EQ(got.grid, grid);
  const std::int64_t rows = x.shape[0];
  const std::int64_t cols = x.shape[1];
  const std::int64_t height = std::min(grid.rows, std::max<std::int64_t>(rows, 1));
  const std::int64_t width = std::min(grid.cols, std::max<std::int64_t>(cols, 1));
  ASSERT_EQ(got.scale.size(0), grid.rows == kWholeExtent ? 1 : (rows + height - 1) / height);
  ASSERT_EQ(got.scale.size(1), grid.cols == kWholeExtent ? 1 : (cols + width - 1) / width);
  ASSERT_EQ(got.scale.dtype(), o.scale_dtype);
  ASSERT_EQ(got.azp.defined(), o.azp);
  for (std::int64_t i = 0; i < got.scale.size(0); ++i) {
    for (std::int64_t j = 0; j < got.scale.size(1); ++j) {
      std::vector<float> cell;
      for (std::int64_t r = i * height; r < std::min(rows, (i + 1) * height); ++r) {
        for (std::int64_t c = j * width; c < std::min(cols, (j + 1) * width); ++c) {
          cell.push_back(float_at(x, r, c));
        }
      }
      const CellExpected want = expected_cell(cell, o);
      const float scale = float_at(got.scale, i, j);
      ASSERT_TRUE(scale == want.scale || (std::isnan(scale) && std::isnan(want.scale)))
          << scale << " for " << want.scale << ", cell " << i << ' ' << j;
      if (o.azp) {
        ASSERT_EQ(static_cast<std::int64_t>(at(got.azp, i, j)), want.azp);
      }
      std::size_t next = 0;
      for (std::int64_t r = i * height; r < std::min(rows, (i + 1) * height); ++r) {
        for (std::int64_t c = j * width; c < std::min(cols, (j + 1) * width); ++c) {
          const float element = cell[next++];
          const float quotient = element / want.scale;
          const TensorView& codes = got.data;
          const auto* byte = static_cast<const std::uint8_t*>(
              codes.at(r * codes.strides[0] + c * codes.strides[1]));
          if (is_float8(o.dtype)) {
            const bool shows = std::isinf(element) && o.non_finite != NonFinite::ignore;
            int code = nearest_float8(o.dtype, quotient);
            if (std::isinf(element) && o.dtype == float8_e5m2) {
              code = std::signbit(element) ? 0xFC : 0x7C;
            } else if (shows) {
              code = -1;
            }
            if (code < 0) {
              ASSERT_TRUE(std::isnan(decoded(o.dtype)[*byte]));
            } else {
              ASSERT_EQ(static_cast<int>(*byte), code) << quotient;
            }
          } else {
            const double rounded = std::isnan(quotient) ? 0.0 : std::nearbyint(double{quotient});
            const double code = o.azp ? rounded + static_cast<double>(want.azp) : rounded;
            ASSERT_EQ(at(codes, r, c), nearest_int(o.dtype, code)) << quotient;
          }
        }
      }
    }
  }
}

/// Runs a test on each backend in turn, through the environment, as a user would force it.
class OnEachBackend : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { ::setenv("OCTAVO_BACKEND", GetParam(), 1); }
  void TearDown() override { ::unsetenv("OCTAVO_BACKEND"); }
};

}  // namespace octavo::test
