// SPDX-License-Identifier: Apache-2.0
// Scales in tiles of 128 x 4 that are stored as 32 x 4 x 4 (PyTorch's SWIZZLE_32_4_4), for a matrix
// or group by group.
#pragma once

#include <cstdint>
#include <span>

#include "octavo/context.hpp"
#include "octavo/problem.hpp"
#include "ops/site.hpp"

namespace octavo {

/// An operand's scales [outer, cells of inner], one for so many elements along inner.
struct SwizzledScale {
  const Site& site;
  Arg arg;
  std::int64_t outer, inner;
  std::int64_t cell;
  const ExecContext& context;
};

/// Natural scales [outer, cells] of a matrix, whose tiles are padded to whole ones. Error where
/// `values` is not contiguous or not of that size.
Result<Tensor> unswizzle(const SwizzledScale& s, const TensorView& values);

/// What cuts the operand of a grouped product, seen along its scales.
enum class ScaleCut {
  stacked,  ///< 3-D: a buffer for each matrix; the result is [G, outer, cells]
  outer,    ///< 2-D, its rows (columns of B) cut: a padded buffer for each group, one after another
  inner,    ///< 2-D, K cut: the same; groups must begin at multiples of the cell
};

/// The natural scales of an operand of a grouped product. Groups without elements have no buffer.
/// `ends`: valid cumulative ones, unread where stacked; `groups`: their number. A buffer of a 2-D
/// operand may be longer than its groups need, since they may not be known where it is made. Scales
/// past the last end are 1.
Result<Tensor> unswizzle_groups(const SwizzledScale& s, ScaleCut cut, std::int64_t groups,
                                std::span<const std::int64_t> ends, const TensorView& values);

}  // namespace octavo
