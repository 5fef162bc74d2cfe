// SPDX-License-Identifier: Apache-2.0
// A tile, transposed through registers.
#pragma once

#include <algorithm>
#include <cstring>

#include "backends/cpu/row_kernels.hpp"

namespace octavo::cpu {

/// out[j][i] = in[i][j] of rows x columns elements of `size` bytes (1, 2 or 4), rows `in_step` and
/// `out_step` bytes apart. What the caches hold of `out` is a few lines of 64 / size columns at a
/// time, so that rows of it may lie any distance apart.
inline void turn(std::int64_t size, const void* in, std::int64_t in_step, std::int64_t rows,
                 std::int64_t columns, void* out, std::int64_t out_step) noexcept {
  const auto* from = static_cast<const char*>(in);
  auto* to = static_cast<char*>(out);
  const std::int64_t tall = 16 / size;
  const std::int64_t wide = 64 / size;
  const Kernels& kernels = best_kernels();
  for (std::int64_t c = 0; c < columns; c += wide) {
    const std::int64_t end = std::min(columns, c + wide);
    std::int64_t r = 0;
    for (; c + wide <= columns && r + tall <= rows; r += tall) {
      kernels.transpose(size, from + r * in_step + c * size, in_step, to + c * out_step + r * size,
                        out_step);
    }
    for (; r < rows; ++r) {
      for (std::int64_t j = c; j < end; ++j) {
        std::memcpy(to + j * out_step + r * size, from + r * in_step + j * size,
                    static_cast<std::size_t>(size));
      }
    }
  }
}

}  // namespace octavo::cpu
