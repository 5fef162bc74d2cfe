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

#include "backends/cuda/machine/types.hpp"

namespace octavo::cuda {

struct alignas(16) RowTile {
  std::int32_t row = 0, end = 0;  ///< of the matrix: its first, and behind the last of its group
  std::int32_t group = 0;
  std::int32_t reserved = 0;
};

/// A list of them on the device. Null: one product, whose tiles follow from its rows.
struct RowTiles {
  const std::int32_t* count = nullptr;
  const RowTile* tiles = nullptr;
  std::int32_t rows_of_b = 0;  ///< from a group's B to the next one's, in the map of all
};

}  // namespace octavo::cuda
