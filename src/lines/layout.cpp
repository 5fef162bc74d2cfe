// SPDX-License-Identifier: Apache-2.0
// Layouts of problem lines to strides.
#include <array>
#include <utility>

#include "octavo/problem_line.hpp"

namespace octavo {
namespace {

// Compact strides, the last two dimensions exchanged where columns lie together.
void set_strides(TensorView& v, bool columns_together) noexcept {
  std::array<std::size_t, kMaxRank> order{};
  const auto rank = static_cast<std::size_t>(v.rank);
  for (std::size_t d = 0; d < rank; ++d) order[d] = d;
  if (columns_together && rank >= 2) std::swap(order[rank - 1], order[rank - 2]);
  std::int64_t step = 1;
  for (std::size_t i = rank; i-- > 0;) {
    v.strides[order[i]] = step;
    step *= v.shape[order[i]];
  }
}

}  // namespace

void apply_layout(TensorView& v, Role role, LineLayout layout) noexcept {
  const bool matrix = role == Role::a || role == Role::b || role == Role::c || role == Role::out;
  set_strides(v, role == Role::b && layout != LineLayout::row_major);
  const auto rank = static_cast<std::size_t>(v.rank);
  if (layout == LineLayout::strided) {
    for (std::size_t d = 0; d < rank; ++d) v.strides[d] *= 2;
  }
  if (layout == LineLayout::reversed && matrix) {
    for (std::size_t d = 0; d < rank; ++d) v.strides[d] = -v.strides[d];
  }
  if (layout == LineLayout::broadcast && role == Role::a) v.strides[0] = 0;
}

}  // namespace octavo
