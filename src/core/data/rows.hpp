// SPDX-License-Identifier: Apache-2.0
// Walking two views of one shape, innermost row by innermost row.
#pragma once

#include <array>
#include <cstdint>

#include "octavo/tensor.hpp"

namespace octavo {

/// Calls visit(offset of the row in a, offset in b) for each innermost row of a shape.
template <class View, class Visit>
void for_each_row(const View& a, const View& b, const Visit& visit) noexcept {
  if (a.numel() == 0) return;
  std::array<std::int64_t, kMaxRank> index{};
  std::int64_t offset_a = 0;
  std::int64_t offset_b = 0;
  while (true) {
    visit(offset_a, offset_b);
    int d = a.rank - 2;
    for (; d >= 0; --d) {
      const auto i = static_cast<std::size_t>(d);
      offset_a += a.strides[i];
      offset_b += b.strides[i];
      if (++index[i] < a.shape[i]) break;
      offset_a -= a.strides[i] * a.shape[i];
      offset_b -= b.strides[i] * a.shape[i];
      index[i] = 0;
    }
    if (d < 0) return;
  }
}

struct InnerRow {
  std::int64_t length = 1;
  std::int64_t stride_a = 1;
  std::int64_t stride_b = 1;
};

template <class View>
InnerRow innermost(const View& a, const View& b) noexcept {
  if (a.rank == 0) return {};
  const auto last = static_cast<std::size_t>(a.rank - 1);
  return {a.shape[last], a.strides[last], b.strides[last]};
}

}  // namespace octavo
