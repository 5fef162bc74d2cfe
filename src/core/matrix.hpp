// SPDX-License-Identifier: Apache-2.0
// Views of memory at hand, where nothing may throw.
#pragma once

#include <cstdint>

#include "octavo/tensor.hpp"

namespace octavo {

/// A row-major matrix at that address.
inline TensorView matrix_view(void* data, DType dtype, std::int64_t rows, std::int64_t cols,
                              const Device& device) noexcept {
  TensorView view;
  view.data = data;
  view.dtype = dtype;
  view.device = device;
  view.rank = 2;
  view.shape = {rows, cols};
  view.strides = {cols, 1};
  return view;
}

}  // namespace octavo
