// SPDX-License-Identifier: Apache-2.0
// Elements times scales, one conversion at the end: what gradients need around their products.
#pragma once

#include <array>

#include "octavo/context.hpp"
#include "octavo/scale.hpp"
#include "octavo/tensor.hpp"

namespace octavo {

/// out[i, j] = cast((source[i, j] - azp[i]) * scales[0](i, j) * scales[1](i, j) * ...), in float32,
/// each step rounded by itself. Scales of no kind are skipped.
struct RescaleProblem {
  TensorView source;  ///< [R, C], any type that widens to float32
  TensorView azp;     ///< [R, 1] of integers, undefined: none; the difference is rounded once
  std::array<ScaleView, 5> scales;
  TensorView out;  ///< [R, C], any strides; apart from the source
};
void rescale(const RescaleProblem& problem, const ExecContext& context) noexcept;

/// The scales of rows [row, ...) and columns [column, column + count) of a matrix, a row at a time.
class ScaleRows {
 public:
  static constexpr std::int64_t kMostColumns = 512;

  ScaleRows(const ScaleView& scale, std::int64_t column, std::int64_t count) noexcept
      : scale_(scale), column_(column), count_(count) {}

  bool present() const noexcept { return scale_.present(); }
  /// One factor for the whole row?
  bool uniform() const noexcept {
    return scale_.kind != ScaleView::Kind::tensor || scale_.cols == kWholeExtent;
  }
  float factor(std::int64_t row) const noexcept;
  /// The factors of a row, `count` of them.
  const float* row(std::int64_t row) noexcept;

 private:
  const ScaleView& scale_;
  std::int64_t column_, count_;
  std::int64_t loaded_ = -1;  // the row of cells in factors_
  std::array<float, static_cast<std::size_t>(kMostColumns)> factors_;
};

}  // namespace octavo
