// SPDX-License-Identifier: Apache-2.0
// Elements as doubles, read and written without the library's own loops.
#pragma once

#include <concepts>
#include <cstdint>

#include "octavo/matrix.hpp"

namespace octavo::kit {

/// The exact value of element `offset`.
double load(DType dtype, const void* data, std::int64_t offset);
inline double load(const TensorView& view, std::int64_t offset) {
  return load(view.dtype, view.data, offset);
}
/// Element (i, j) of a matrix, or i of a vector.
double load(const TensorView& view, std::int64_t i, std::int64_t j);
template <std::derived_from<Elements> View>
double load(const View& v, std::int64_t i, std::int64_t j) {
  return load(v.dtype, v.data, i * v.strides[0] + j * v.strides[1]);
}

/// Stores a value that the type can hold (or its nearest neighbour).
void store(DType dtype, void* data, std::int64_t offset, double value);
inline void store(const TensorView& view, std::int64_t offset, double value) {
  store(view.dtype, view.data, offset, value);
}

/// Half the distance between neighbouring values of the type around `value`, and the largest finite
/// value; an integer's is 1/2.
double half_ulp(DType dtype, double value);

}  // namespace octavo::kit
