// SPDX-License-Identifier: Apache-2.0
// Structs whose struct_size says which version of them a caller has: this library knows one of
// each.
#pragma once

#include <cstddef>
#include <cstring>
#include <type_traits>

#include "capi/guard.hpp"

namespace octavo::capi {

/// Refuses a struct whose struct_size is not `known`. Nothing else of it is read.
OCTAVO_INTERNAL_API void check_size(const ArgumentPath& place, const void* given,
                                    std::size_t known);

/// A struct of the caller; null: all defaults, which are zero.
template <class Struct>
Struct read_struct(const ArgumentPath& place, const Struct* given) {
  static_assert(std::is_trivially_copyable_v<Struct> && offsetof(Struct, struct_size) == 0);
  if (given == nullptr) return Struct{};
  check_size(place, given, sizeof(Struct));
  return *given;
}

/// Fills the caller's struct.
template <class Struct>
void write_struct(const ArgumentPath& place, Struct full, Struct* result) {
  static_assert(std::is_trivially_copyable_v<Struct> && offsetof(Struct, struct_size) == 0);
  check_size(place, result, sizeof full);
  full.struct_size = sizeof full;
  *result = full;
}

}  // namespace octavo::capi
