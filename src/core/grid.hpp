// SPDX-License-Identifier: Apache-2.0
// Reading resolved scales and factors, and the K ranges over which no scale changes.
#pragma once

#include <cstdint>

#include "octavo/problem.hpp"

namespace octavo {

/// The scale of element (i, j) of an operand; 1 where there is none.
float scale_at(const ScaleView& scale, std::int64_t i, std::int64_t j) noexcept;

/// The factor of output column n; 1 where there is none.
float factor_at(const Factor& factor, std::int64_t n) noexcept;

/// True for a scale that has to be applied to partial sums.
inline bool varies_along_k(const ScaleView& scale, Side side) noexcept {
  return scale.kind == ScaleView::Kind::tensor &&
         (side == Side::a ? scale.cols : scale.rows) != kWholeExtent;
}
inline bool varies_along_k(const Operand& operand, Side side) noexcept {
  return varies_along_k(operand.scale[0], side) || varies_along_k(operand.scale[1], side);
}

/// The zero point of element (k, n) of a right operand, 0 where it has none. They are [1, N], or
/// one for each cell of its first scale.
std::int64_t weight_azp_at(const Operand& b, std::int64_t k, std::int64_t n) noexcept;

/// The end of the cell of the common refinement of all K-varying scales that contains k.
std::int64_t next_boundary(const Member& member, std::int64_t k, std::int64_t inner) noexcept;

}  // namespace octavo
