// SPDX-License-Identifier: Apache-2.0
// How many scales an operand has, for tests that know the public headers alone.
#pragma once

#include <cstdint>
#include <vector>

#include "octavo/scale.hpp"

namespace octavo::test {

/// Cells down or across an extent.
inline std::int64_t scale_cells(std::int64_t extent, std::int64_t cell) {
  return cell == kWholeExtent ? 1 : (extent + cell - 1) / cell;
}

/// Scales of a granularity down and across one side of a product.
inline std::vector<std::int64_t> scale_shape(const Granularity& granularity, Side side,
                                             std::int64_t rows, std::int64_t cols) {
  const ScaleGrid grid = scale_grid(granularity, side);
  return {scale_cells(rows, grid.rows), scale_cells(cols, grid.cols)};
}

}  // namespace octavo::test
