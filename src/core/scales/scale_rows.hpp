// SPDX-License-Identifier: Apache-2.0
// Scales of any grid, a row at a time.
#pragma once

#include <algorithm>
#include <array>

#include "core/data/convert.hpp"
#include "core/data/element.hpp"
#include "core/scales/scale_values.hpp"

namespace octavo {

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
  float factor(std::int64_t row) const noexcept { return scale_at(scale_, row, 0); }
  /// The factors of a row, `count` of them.
  const float* row(std::int64_t row) noexcept;

 private:
  const ScaleView& scale_;
  std::int64_t column_, count_;
  std::int64_t loaded_ = -1;  // the row of cells in factors_
  std::array<float, static_cast<std::size_t>(kMostColumns)> factors_;
};

inline const float* ScaleRows::row(std::int64_t row) noexcept {
  const Elements& v = scale_.data;
  const std::int64_t cell_row = (scale_.row0 + row) / scale_.rows;
  if (cell_row == loaded_) return factors_.data();
  loaded_ = cell_row;
  const std::int64_t first = scale_.col0 + column_;
  if (scale_.cols == 1) {
    load_row(v.dtype, v.at(cell_row * v.strides[0] + first * v.strides[1]), v.strides[1], count_,
             factors_.data());
    return factors_.data();
  }
  for (std::int64_t j = 0; j < count_;) {
    const std::int64_t cell = (first + j) / scale_.cols;
    const std::int64_t end = std::min(count_, (cell + 1) * scale_.cols - first);
    std::fill(factors_.data() + j, factors_.data() + end, load_float(v, cell_row, cell));
    j = end;
  }
  return factors_.data();
}

}  // namespace octavo
