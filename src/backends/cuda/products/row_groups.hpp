// SPDX-License-Identifier: Apache-2.0
// Groups of rows as a launch is told of them.
#pragma once

#include <cstdint>

#include "backends/cuda/kernels/common/row_tiles.hpp"

namespace octavo::cuda {

/// The rows of A and of the output are the groups', one behind the other; the rows of B those of
/// all groups', of which a group has `columns`. Tiles are of so many rows, at most so many.
struct RowGroups {
  RowTiles tiles;
  std::int32_t rows_of_tile = 0;
  std::int64_t most_tiles = 0, columns = 0;
};

}  // namespace octavo::cuda
