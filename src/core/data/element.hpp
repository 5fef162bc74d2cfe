// SPDX-License-Identifier: Apache-2.0
// Single elements of any data type: exact loads, rounding stores, any alignment.
#pragma once

#include <cstdint>

#include "octavo/matrix.hpp"
#include "octavo/numeric.hpp"

namespace octavo {

/// The float32 value of element `offset`; exact for every type of at most 16 bits and float32,
/// rounded once for wider integers. 0 for types that are never computed with.
float load_float(DType dtype, const void* base, std::int64_t offset) noexcept;

/// The value of an int8, uint8, int32 or int64 element.
std::int64_t load_int(DType dtype, const void* base, std::int64_t offset) noexcept;

/// Stores the value of that type nearest to `value`, as specification section 1 says.
void store_float(DType dtype, void* base, std::int64_t offset, float value,
                 Overflow overflow) noexcept;

/// Stores an int32 element.
void store_int32(void* base, std::int64_t offset, std::int32_t value) noexcept;

/// Element (i, j).
inline float load_float(const Elements& v, std::int64_t i, std::int64_t j) noexcept {
  return load_float(v.dtype, v.data, i * v.strides[0] + j * v.strides[1]);
}
inline std::int64_t load_int(const Elements& v, std::int64_t i, std::int64_t j) noexcept {
  return load_int(v.dtype, v.data, i * v.strides[0] + j * v.strides[1]);
}

}  // namespace octavo
