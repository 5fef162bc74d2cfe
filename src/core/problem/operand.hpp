// SPDX-License-Identifier: Apache-2.0
// What a product asks of its operands, packed, quantised on the fly or neither.
#pragma once

#include <cstdint>

#include "octavo/packed.hpp"
#include "octavo/problem.hpp"

namespace octavo {

/// The longest sum of products of 8-bit integers that stays in int32 whatever the codes are: 65536
/// * 255 * 128 < 2^31.
inline constexpr std::int64_t kMostIntegerDepth = 65536;
/// The same where both sides may be uint8: 33025 * 255 * 255 < 2^31.
inline constexpr std::int64_t kMostUnsignedDepth = 33025;

/// The type of A's elements as the product sees them.
template <class View, class Values>
DType product_dtype(const OperandOf<View, Values>& a) noexcept {
  if (a.quantize == nullptr) return a.data.dtype;
  return a.quantize->vectorwise ? DType::int8 : a.quantize->spec.dtype;
}

/// K, N and the type of a right operand [K, N].
template <class View, class Values>
std::int64_t weight_rows(const OperandOf<View, Values>& b) noexcept {
  return b.packed != nullptr ? b.packed->k() : b.data.shape[0];
}
template <class View, class Values>
std::int64_t weight_columns(const OperandOf<View, Values>& b) noexcept {
  return b.packed != nullptr ? b.packed->n() : b.data.shape[1];
}
template <class View, class Values>
DType weight_dtype(const OperandOf<View, Values>& b) noexcept {
  return b.packed != nullptr ? b.packed->dtype() : b.data.dtype;
}

/// Whether B's zero points are one for each cell of its first scale; else [1, N], one for each
/// column or the same for all.
inline bool azp_by_cells(const OperandView& b) noexcept {
  return b.azp.defined() && (b.azp.shape[0] != 1 || b.azp.shape[1] < weight_columns(b));
}

}  // namespace octavo
