// SPDX-License-Identifier: Apache-2.0
// Where the scales of operands change along K.
#pragma once

#include <cstdint>

#include "octavo/problem.hpp"

namespace octavo {

/// True for a scale that has to be applied to partial sums.
template <class Values>
bool varies_along_k(const ScaleOf<Values>& scale, Side side) noexcept {
  return scale.kind == ScaleKind::tensor &&
         (side == Side::a ? scale.cols : scale.rows) != kWholeExtent;
}
template <class View, class Values>
bool varies_along_k(const OperandOf<View, Values>& operand, Side side) noexcept {
  return varies_along_k(operand.scale[0], side) || varies_along_k(operand.scale[1], side);
}

/// The end of the cell of the common refinement of all K-varying scales that contains k.
std::int64_t next_boundary(const Member& member, std::int64_t k, std::int64_t inner) noexcept;

}  // namespace octavo
