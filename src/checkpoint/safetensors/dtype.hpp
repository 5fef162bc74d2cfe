// SPDX-License-Identifier: Apache-2.0
// The element types of the safetensors format.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "octavo/dtype.hpp"

namespace octavo::checkpoint {

/// One safetensors type. Types that Octavo does not carry are copied through as bytes.
struct SafetensorsType {
  std::string_view name;
  std::uint64_t bits;
  DType dtype;  ///< undefined: known by size only
};

/// All 22 types, in the reference writer's order: files are laid out from the last to the first,
/// so that every tensor is aligned to its own element size.
inline constexpr std::array<SafetensorsType, 22> kSafetensorsTypes{{
    {"BOOL", 8, DType::bool_},
    {"F4", 4, DType::undefined},
    {"F6_E2M3", 6, DType::undefined},
    {"F6_E3M2", 6, DType::undefined},
    {"U8", 8, DType::uint8},
    {"I8", 8, DType::int8},
    {"F8_E5M2", 8, DType::float8_e5m2},
    {"F8_E4M3", 8, DType::float8_e4m3fn},
    {"F8_E8M0", 8, DType::float8_e8m0fnu},
    {"F8_E4M3FNUZ", 8, DType::float8_e4m3fnuz},
    {"F8_E5M2FNUZ", 8, DType::float8_e5m2fnuz},
    {"I16", 16, DType::int16},
    {"U16", 16, DType::undefined},
    {"F16", 16, DType::float16},
    {"BF16", 16, DType::bfloat16},
    {"I32", 32, DType::int32},
    {"U32", 32, DType::undefined},
    {"F32", 32, DType::float32},
    {"C64", 64, DType::undefined},
    {"F64", 64, DType::float64},
    {"I64", 64, DType::int64},
    {"U64", 64, DType::undefined},
}};

/// The row of that name, or null.
constexpr const SafetensorsType* find_type(std::string_view name) noexcept {
  for (const SafetensorsType& type : kSafetensorsTypes) {
    if (type.name == name) return &type;
  }
  return nullptr;
}

/// The Octavo type of that name; `undefined` for unknown types and for those it does not carry.
constexpr DType dtype_of_name(std::string_view name) noexcept {
  const SafetensorsType* type = find_type(name);
  return type == nullptr ? DType::undefined : type->dtype;
}

namespace detail {
constexpr bool types_agree_with_dtypes() {
  for (const SafetensorsType& type : kSafetensorsTypes) {
    if (type.dtype == DType::undefined) continue;
    if (info(type.dtype).safetensors != type.name || info(type.dtype).bits != type.bits) {
      return false;
    }
  }
  return true;
}
static_assert(types_agree_with_dtypes(), "kSafetensorsTypes must agree with kDTypes");
}  // namespace detail

}  // namespace octavo::checkpoint
