// SPDX-License-Identifier: Apache-2.0
// Tiles of rows where the rows of A and of the output are those of several groups, one behind the
// other, each with a B, scales and a bias of its own:
//
//     rows      |  group 0   |g 1|     group 3     |  behind the last group
//     tiles     [      ][    ][  ][      ][      ][ ]
//
// A tile begins in a group and ends with it: the rows behind its end are multiplied, too, and are
// not stored. Which tiles there are depends on the groups' ends, which a device may have alone:
// CutRowsKernel (passes/cut_rows.hpp) writes the list.
#pragma once

#include "backends/cuda/kernels/common/tiles.hpp"
#include "backends/cuda/machine/types.hpp"

namespace octavo::cuda {

struct alignas(16) RowTile {
  std::int32_t row = 0, end = 0;  ///< of the matrix: its first, and behind the last of its group
  std::int32_t group = 0;
  std::int32_t reserved = 0;
};

/// Where a tile lies in the matrix.
struct Tile {
  int row, end_row, column, group;
};

/// A list of them on the device. Null: one product, whose tiles follow from its rows.
struct RowTiles {
  const std::int32_t* count = nullptr;
  const RowTile* tiles = nullptr;
  std::int32_t rows_of_b = 0;  ///< from a group's B to the next one's, among the rows of all

  /// Tiles of `height` rows.
  template <class Machine>
  OCTAVO_DEVICE int rows_of_tiles(Machine& m, int rows, int height) const {
    return count != nullptr ? m.load_global(count) : (rows + height - 1) / height;
  }
  template <class Machine>
  OCTAVO_DEVICE Tile at(Machine& m, const TilePlace& place, int rows, int height, int width) const {
    if (count == nullptr) return {place.row * height, rows, place.column * width, 0};
    const RowTile tile = m.load_global(tiles + place.row);
    return {tile.row, tile.end, place.column * width, tile.group};
  }
};

}  // namespace octavo::cuda
