// SPDX-License-Identifier: Apache-2.0
// Zeroing the part of an output that no group covers.
#pragma once

#include <cstring>

#include "core/data/element.hpp"
#include "octavo/tensor.hpp"

namespace octavo {

/// Writes the value 0 to every element of a matrix view; nothing to an undefined one.
inline void fill_zero(const MatrixView& v) noexcept {
  if (!v.defined()) return;
  for (std::int64_t i = 0; i < v.shape[0]; ++i) {
    for (std::int64_t j = 0; j < v.shape[1]; ++j) {
      const std::int64_t place = i * v.strides[0] + j * v.strides[1];
      std::memset(v.at(place), 0, static_cast<std::size_t>(element_bytes(v.dtype)));
    }
  }
}

}  // namespace octavo
