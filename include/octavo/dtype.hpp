// SPDX-License-Identifier: Apache-2.0
// Data types: one row of one table each, with every name and code that other systems give them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>

#include "octavo/export.hpp"

namespace octavo {

/// The element types a tensor can carry.
///
/// Octavo computes with the 8-, 16- and 32-bit rows. int64 holds offsets and indices. float64,
/// int16 and bool_ are known only so that they can be refused with a sentence that names the
/// conversion to write.
enum class DType : std::uint8_t {
  undefined = 0,
  float8_e4m3fn,
  float8_e4m3fnuz,
  float8_e5m2,
  float8_e5m2fnuz,
  float8_e8m0fnu,
  bfloat16,
  float16,
  float32,
  int8,
  uint8,
  int32,
  int64,
  float64,
  int16,
  bool_,
};

/// `octavo::bfloat16` reads as well as `octavo::DType::bfloat16`.
using enum DType;

/// What a data type is used for; the rules of every operation are written in these terms.
enum class DTypeKind : std::uint8_t {
  none,
  float8,   ///< an 8-bit floating operand
  wide,     ///< bfloat16, float16, float32
  scale8,   ///< float8_e8m0fnu: scales only
  integer,  ///< int8, uint8: integer operands
  sum,      ///< int32: exact accumulators and zero points
  index,    ///< int64: offsets and indices
  foreign,  ///< known by name, never computed with
};

/// One row of the data type table.
struct DTypeInfo {
  DType dtype;
  std::string_view name;         ///< ml_dtypes and DLPack spelling
  std::string_view short_name;   ///< the spelling of problem lines and kernel names
  std::string_view safetensors;  ///< safetensors header spelling, empty if the format has none
  DTypeKind kind;
  std::uint8_t bits;         ///< storage of one element; packed types may go below 8
  std::uint8_t dlpack_code;  ///< DLPack 1.1 DLDataTypeCode
  bool has_inf;
  bool has_nan;
  float max;  ///< largest finite value (rounded to float32 for 32-bit integers and wider)
};

inline constexpr std::array<DTypeInfo, 16> kDTypes{{
    {undefined, "undefined", "undefined", "", DTypeKind::none, 0, 0, false, false, 0.0F},
    {float8_e4m3fn, "float8_e4m3fn", "e4m3fn", "F8_E4M3", DTypeKind::float8, 8, 10, false, true,
     448.0F},
    {float8_e4m3fnuz, "float8_e4m3fnuz", "e4m3fnuz", "F8_E4M3FNUZ", DTypeKind::float8, 8, 11, false,
     true, 240.0F},
    {float8_e5m2, "float8_e5m2", "e5m2", "F8_E5M2", DTypeKind::float8, 8, 12, true, true, 57344.0F},
    {float8_e5m2fnuz, "float8_e5m2fnuz", "e5m2fnuz", "F8_E5M2FNUZ", DTypeKind::float8, 8, 13, false,
     true, 57344.0F},
    {float8_e8m0fnu, "float8_e8m0fnu", "e8m0fnu", "F8_E8M0", DTypeKind::scale8, 8, 14, false, true,
     0x1p127F},
    {bfloat16, "bfloat16", "bf16", "BF16", DTypeKind::wide, 16, 4, true, true, 0x1.FEp127F},
    {float16, "float16", "fp16", "F16", DTypeKind::wide, 16, 2, true, true, 65504.0F},
    {float32, "float32", "fp32", "F32", DTypeKind::wide, 32, 2, true, true,
     std::numeric_limits<float>::max()},
    {int8, "int8", "int8", "I8", DTypeKind::integer, 8, 0, false, false, 127.0F},
    {uint8, "uint8", "uint8", "U8", DTypeKind::integer, 8, 1, false, false, 255.0F},
    {int32, "int32", "int32", "I32", DTypeKind::sum, 32, 0, false, false, 0x1p31F},
    {int64, "int64", "int64", "I64", DTypeKind::index, 64, 0, false, false, 0x1p63F},
    {float64, "float64", "fp64", "F64", DTypeKind::foreign, 64, 2, true, true,
     std::numeric_limits<float>::max()},
    {int16, "int16", "int16", "I16", DTypeKind::foreign, 16, 0, false, false, 32767.0F},
    {bool_, "bool", "bool", "BOOL", DTypeKind::foreign, 8, 6, false, false, 1.0F},
}};

/// The table row of a data type.
constexpr const DTypeInfo& info(DType dtype) noexcept {
  return kDTypes[static_cast<std::size_t>(dtype)];
}

namespace detail {
constexpr bool dtype_rows_in_order() {
  for (std::size_t i = 0; i < kDTypes.size(); ++i) {
    if (static_cast<std::size_t>(kDTypes[i].dtype) != i) return false;
  }
  return static_cast<std::size_t>(bool_) + 1 == kDTypes.size();
}
static_assert(dtype_rows_in_order(), "kDTypes must have one row per DType, in enum order");
}  // namespace detail

constexpr std::string_view name(DType dtype) noexcept { return info(dtype).name; }
constexpr bool is_float8(DType dtype) noexcept { return info(dtype).kind == DTypeKind::float8; }
constexpr bool is_wide(DType dtype) noexcept { return info(dtype).kind == DTypeKind::wide; }
constexpr bool is_integer8(DType dtype) noexcept { return info(dtype).kind == DTypeKind::integer; }
constexpr bool is_floating(DType dtype) noexcept { return is_float8(dtype) || is_wide(dtype); }

/// Bytes of one element. Every type of today's table fills whole bytes.
constexpr std::int64_t element_bytes(DType dtype) noexcept { return (info(dtype).bits + 7) / 8; }

/// The type of that full, short or safetensors name; `undefined` if there is none.
OCTAVO_API DType dtype_from_name(std::string_view name) noexcept;

}  // namespace octavo
