// SPDX-License-Identifier: Apache-2.0
// Counting the cells of a scale grid.
#pragma once

#include <algorithm>
#include <cstdint>

#include "octavo/scale.hpp"

namespace octavo {

/// ceil(extent / cell): how many scales cover a dimension. A whole-extent cell counts as one, even
/// of an empty dimension.
constexpr std::int64_t cells(std::int64_t extent, std::int64_t cell) noexcept {
  if (cell == kWholeExtent) return 1;
  return extent / cell + (extent % cell != 0 ? 1 : 0);
}

/// Whether a slice of a matrix can begin there in the first of the cells that it keeps.
constexpr bool in_first_cell(std::int64_t origin, std::int64_t cell) noexcept {
  return origin >= 0 && origin < cell && origin < kWholeExtent / 2;
}

/// The values of a scale that cover so many rows and columns of its operand; undefined where it has
/// none.
inline MatrixView values_of(const ScaleView& scale, std::int64_t rows, std::int64_t cols) noexcept {
  if (scale.kind != ScaleKind::tensor) return {};
  return {scale.data, cells(scale.row0 + rows, scale.rows), cells(scale.col0 + cols, scale.cols)};
}

/// The end of cell `index` inside the extent.
constexpr std::int64_t cell_end(std::int64_t extent, std::int64_t cell,
                                std::int64_t index) noexcept {
  if (cell == kWholeExtent) return extent;
  return std::min(extent, (index + 1) * cell);
}

}  // namespace octavo
