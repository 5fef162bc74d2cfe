// SPDX-License-Identifier: Apache-2.0
// The order in which clusters take the tiles of an output.
//
// Eight rows of tiles are taken column by column, so that the clusters that run at the same time
// need few distinct rows of A and of B, which L2 then holds:
//
//      rows of tiles   0 |  0  8 16 24        0..7 and so on: one group
//                      1 |  1  9 17 25
//                      : |  :  :  :  :
//                      7 |  7 15 23 31
//                      8 | 32 ...
#pragma once

#include "backends/cuda/machine/types.hpp"

namespace octavo::cuda {

/// A tile of the output by its number in that order.
struct TilePlace {
  int row, column;  // in tiles
};

struct TileOrder {
  static constexpr int kGroup = 8;

  int rows, columns;  // in tiles

  OCTAVO_HOST_DEVICE int count() const { return rows * columns; }
  OCTAVO_HOST_DEVICE TilePlace at(int index) const {
    const int first = index / (kGroup * columns) * kGroup;
    const int in_group = index % (kGroup * columns);
    const int height = rows - first < kGroup ? rows - first : kGroup;
    return {first + in_group % height, in_group / height};
  }
};

}  // namespace octavo::cuda
