// SPDX-License-Identifier: Apache-2.0
// Elements as doubles, read and written without the library's own loops.
#pragma once

#include <cstdint>

#include "octavo/tensor.hpp"

namespace octavo::kit {

/// The exact value of element `offset`.
double load(const TensorView& view, std::int64_t offset);
/// Element (i, j) of a matrix, or i of a vector.
double load(const TensorView& view, std::int64_t i, std::int64_t j);

/// Stores a value that the type can hold (or its nearest neighbour).
void store(const TensorView& view, std::int64_t offset, double value);

/// Half the distance between neighbouring values of the type around `value`, and the largest finite
/// value; an integer's is 1/2.
double half_ulp(DType dtype, double value);

}  // namespace octavo::kit
