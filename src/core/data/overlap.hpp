// SPDX-License-Identifier: Apache-2.0
// Which bytes a view reaches, and whether views share some.
#pragma once

#include <cstdint>

#include "octavo/tensor.hpp"

namespace octavo {

/// True where the count of elements and every distance between two of them, in bytes, stay below
/// 2^63. Holds for whatever passed check_tensor; the other functions need it.
bool addressable(const TensorView& view) noexcept;

/// The bytes from the lowest that a view with elements reaches to one past the highest.
struct AddressRange {
  std::uintptr_t begin, end;
};
AddressRange address_range(const TensorView& view) noexcept;

/// True unless no byte of one view belongs to the other. Exact for disjoint address ranges and for
/// column blocks of one buffer; any other interleaving counts as overlap.
bool overlap(const TensorView& a, const TensorView& b) noexcept;

/// True where two indices of a view may name the same element.
bool repeats_elements(const TensorView& view) noexcept;

/// The same elements in the same places.
bool same_elements(const TensorView& a, const TensorView& b) noexcept;

}  // namespace octavo
