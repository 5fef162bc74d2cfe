// SPDX-License-Identifier: Apache-2.0
#include "core/grid.hpp"

#include <algorithm>

namespace octavo {

std::int64_t next_boundary(const Member& m, std::int64_t k, std::int64_t inner) noexcept {
  std::int64_t next = inner;
  const auto consider = [&](std::int64_t cell, std::int64_t origin) {
    if (cell == kWholeExtent) return;
    next = std::min(next, (origin + k) / cell * cell + cell - origin);
  };
  for (const ScaleView& scale : m.a.scale) {
    if (varies_along_k(scale, Side::a)) consider(scale.cols, scale.col0);
  }
  for (const ScaleView& scale : m.b.scale) {
    if (varies_along_k(scale, Side::b)) consider(scale.rows, scale.row0);
  }
  return next;
}

}  // namespace octavo
