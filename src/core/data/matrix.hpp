// SPDX-License-Identifier: Apache-2.0
// Views of memory at hand, where nothing may throw.
#pragma once

#include <cstdint>

#include "octavo/matrix.hpp"

namespace octavo {

/// A row-major matrix at that address.
inline MatrixView matrix_view(void* data, DType dtype, std::int64_t rows, std::int64_t cols,
                              const Device& device) noexcept {
  MatrixView view;
  view.data = data;
  view.dtype = dtype;
  view.device = device;
  view.shape = {rows, cols};
  view.strides = {cols, 1};
  return view;
}

}  // namespace octavo
