// SPDX-License-Identifier: Apache-2.0
// Launches of Hopper's kernels: that of few rows or of many, with K cut or not, and that of all
// groups.
#pragma once

#include "backends/cuda/dense_epilogue.hpp"
#include "backends/cuda/dense_product.hpp"
#include "octavo/context.hpp"
#include "octavo/matrix.hpp"
#include "octavo/status.hpp"

namespace octavo::cuda {

/// Rows that the kernel of few takes.
constexpr std::int64_t kFewRows = 64;

/// Operands that lie as TMA takes them, A [M, K] and B [N, K], and where the output does.
struct WgmmaProduct {
  const MatrixView &a, &b, &out;
  const DenseEpilogue& epilogue;
};
Status launch_wgmma(const DensePath& path, const WgmmaProduct& product,
                    const ExecContext& context) noexcept;

/// The same of all groups: the rows of A and of the output are theirs, one behind the other, as
/// `groups` says, whose tiles are of so many rows, at most so many. B: the rows of all groups', of
/// which a group has `columns`. The epilogue is a full one.
struct WgmmaGroups {
  RowTiles groups;
  std::int64_t most_tiles;
  std::int64_t columns;
};
constexpr std::int32_t kRowsOfTile = 256;
Status launch_wgmma(const DensePath& path, const WgmmaProduct& product, const WgmmaGroups& groups,
                    const ExecContext& context) noexcept;

}  // namespace octavo::cuda
