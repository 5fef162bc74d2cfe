// SPDX-License-Identifier: Apache-2.0
// Structs that grow: whatever version of one a caller has, the library sees its own.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <type_traits>

#include "capi/guard.hpp"

namespace octavo::capi {

/// The caller's struct_size, checked: what lies behind `known` bytes must be zero.
std::size_t checked_input_size(const Place& place, const void* given, std::size_t known);

/// The same for a struct that the library fills: nothing of it is read but its size.
std::size_t checked_output_size(const Place& place, const void* given);

/// A struct of the caller as this version's; null: all defaults, which are zero.
template <class Struct>
Struct read_struct(const Place& place, const Struct* given) {
  static_assert(std::is_trivially_copyable_v<Struct> && offsetof(Struct, struct_size) == 0);
  Struct full;
  std::memset(&full, 0, sizeof full);
  if (given != nullptr) {
    const std::size_t size = checked_input_size(place, given, sizeof full);
    std::memcpy(&full, given, std::min(size, sizeof full));
  }
  full.struct_size = sizeof full;
  return full;
}

/// Fills the caller's struct with as much of `full` as it has room for, zeros behind it.
template <class Struct>
void write_struct(const Place& place, Struct full, Struct* result) {
  static_assert(std::is_trivially_copyable_v<Struct> && offsetof(Struct, struct_size) == 0);
  const std::size_t size = checked_output_size(place, result);
  full.struct_size = size;
  auto* bytes = reinterpret_cast<unsigned char*>(result);
  std::memcpy(bytes, &full, std::min(size, sizeof full));
  if (size > sizeof full) std::memset(bytes + sizeof full, 0, size - sizeof full);
}

}  // namespace octavo::capi
