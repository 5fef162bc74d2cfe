// SPDX-License-Identifier: Apache-2.0
// Rows of elements to and from float32.
#pragma once

#include <cstdint>

#include "octavo/export.hpp"
#include "octavo/matrix.hpp"
#include "octavo/numeric.hpp"

namespace octavo {

/// out[i] = float32 value of element i * stride, for i in [0, n).
void load_row(DType dtype, const void* base, std::int64_t stride, std::int64_t n,
              float* out) noexcept;

/// Element i * stride = the nearest value of that type to in[i], for i in [0, n).
void store_row(DType dtype, const float* in, std::int64_t n, void* base, std::int64_t stride,
               Overflow overflow) noexcept;

/// Copies raw elements between two views of equal shape and data type.
OCTAVO_INTERNAL_API void copy_elements(const TensorView& from, const TensorView& to) noexcept;
void copy_elements(const MatrixView& from, const MatrixView& to) noexcept;

}  // namespace octavo
