// SPDX-License-Identifier: Apache-2.0
// What a product asks of its operands, packed, quantised on the way or neither.
#pragma once

#include <cstdint>

#include "octavo/packed.hpp"
#include "octavo/problem.hpp"

namespace octavo {

/// The type of A's elements as the product sees them.
inline DType product_dtype(const Operand& a) noexcept {
  if (a.quantise == nullptr) return a.data.dtype;
  return a.quantise->vectorwise ? DType::int8 : a.quantise->spec.dtype;
}

/// K, N and the type of a right operand [K, N].
inline std::int64_t weight_rows(const Operand& b) noexcept {
  return b.packed != nullptr ? b.packed->k() : b.data.shape[0];
}
inline std::int64_t weight_columns(const Operand& b) noexcept {
  return b.packed != nullptr ? b.packed->n() : b.data.shape[1];
}
inline DType weight_dtype(const Operand& b) noexcept {
  return b.packed != nullptr ? b.packed->dtype() : b.data.dtype;
}

}  // namespace octavo
