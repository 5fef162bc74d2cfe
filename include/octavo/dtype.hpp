// SPDX-License-Identifier: Apache-2.0
// Data types: one row of one table each, with every name and code that other systems give them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>
#include <utility>

#include "octavo/export.hpp"
#include "octavo/numeric.hpp"

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
  DType dtype;                   ///< the row's type
  std::string_view name;         ///< ml_dtypes and DLPack spelling
  std::string_view short_name;   ///< the spelling of problem lines and kernel names
  std::string_view safetensors;  ///< safetensors header spelling, empty if the format has none
  DTypeKind kind;                ///< what it is used for
  std::uint8_t bits;             ///< storage of one element; packed types may go below 8
  std::uint8_t dlpack_code;      ///< DLPack 1.1 DLDataTypeCode
  bool has_inf;                  ///< it has infinities
  bool has_nan;                  ///< it has a NaN
  float max;  ///< largest finite value (rounded to float32 for 32-bit integers and wider)
  FloatFormat format{};  ///< of float8 and 16-bit types
};

namespace detail {
/// The row of a float type of 8 or 16 bits: what its format says is not said again.
constexpr DTypeInfo float_row(DType dtype, std::string_view name, std::string_view short_name,
                              std::string_view safetensors, std::uint8_t bits,
                              std::uint8_t dlpack_code, const FloatFormat& format) noexcept {
  return {dtype,
          name,
          short_name,
          safetensors,
          bits == 8 ? DTypeKind::float8 : DTypeKind::wide,
          bits,
          dlpack_code,
          format.inf_code != 0,
          true,
          format.max(),
          format};
}
}  // namespace detail

/// The table of data types, one row for each DType, in its order.
inline constexpr auto kDTypes = std::to_array<DTypeInfo>({
    {undefined, "undefined", "undefined", "", DTypeKind::none, 0, 0, false, false, 0.0F},
    detail::float_row(float8_e4m3fn, "float8_e4m3fn", "e4m3fn", "F8_E4M3", 8, 10,
                      {3, 7, 0x7E, 0, 0x7F, 0x80, false}),
    detail::float_row(float8_e4m3fnuz, "float8_e4m3fnuz", "e4m3fnuz", "F8_E4M3FNUZ", 8, 11,
                      {3, 8, 0x7F, 0, 0x80, 0x80, true}),
    detail::float_row(float8_e5m2, "float8_e5m2", "e5m2", "F8_E5M2", 8, 12,
                      {2, 15, 0x7B, 0x7C, 0x7E, 0x80, false}),
    detail::float_row(float8_e5m2fnuz, "float8_e5m2fnuz", "e5m2fnuz", "F8_E5M2FNUZ", 8, 13,
                      {2, 16, 0x7F, 0, 0x80, 0x80, true}),
    {float8_e8m0fnu, "float8_e8m0fnu", "e8m0fnu", "F8_E8M0", DTypeKind::scale8, 8, 14, false, true,
     0x1p127F},
    detail::float_row(bfloat16, "bfloat16", "bf16", "BF16", 16, 4, kBFloat16),
    detail::float_row(float16, "float16", "fp16", "F16", 16, 2, kFloat16),
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
});

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

/// ml_dtypes' spelling: "float8_e4m3fn".
constexpr std::string_view name(DType dtype) noexcept { return info(dtype).name; }
/// Whether it is an 8-bit float that products compute with.
constexpr bool is_float8(DType dtype) noexcept { return info(dtype).kind == DTypeKind::float8; }
/// Whether it is bfloat16, float16 or float32.
constexpr bool is_wide(DType dtype) noexcept { return info(dtype).kind == DTypeKind::wide; }
/// Whether it is int8 or uint8.
constexpr bool is_integer8(DType dtype) noexcept { return info(dtype).kind == DTypeKind::integer; }
/// Whether it is a float type that products compute with.
constexpr bool is_floating(DType dtype) noexcept { return is_float8(dtype) || is_wide(dtype); }

/// Bytes of one element. Every type of today's table fills whole bytes.
constexpr std::int64_t element_bytes(DType dtype) noexcept { return (info(dtype).bits + 7) / 8; }

/// A value for each data type: `make.template operator()<F>()` for every float8 type, F being its
/// format, and `T{}` for all others. The one place that enumerates float8 types.
template <class T, class Make>
constexpr std::array<T, kDTypes.size()> by_float8(const Make& make) {
  return [&]<std::size_t... i>(std::index_sequence<i...>) {
    const auto value = [&]<std::size_t row>() -> T {
      if constexpr (kDTypes[row].kind == DTypeKind::float8) {
        return make.template operator()<kDTypes[row].format>();
      } else {
        return T{};
      }
    };
    return std::array<T, kDTypes.size()>{value.template operator()<i>()...};
  }
  (std::make_index_sequence<kDTypes.size()>());
}

namespace detail {
constexpr auto float8_types() noexcept {
  constexpr auto count = [] {
    std::size_t n = 0;
    for (const DTypeInfo& row : kDTypes) n += row.kind == DTypeKind::float8 ? 1 : 0;
    return n;
  }();
  std::array<DType, count> types{};
  std::size_t next = 0;
  for (const DTypeInfo& row : kDTypes) {
    if (row.kind == DTypeKind::float8) types[next++] = row.dtype;
  }
  return types;
}
}  // namespace detail

/// The float8 types, in the table's order.
inline constexpr auto kFloat8Types = detail::float8_types();

namespace detail {
inline constexpr auto kCodeValues = by_float8<std::array<float, 256>>([]<FloatFormat F>() noexcept {
  std::array<float, 256> table{};
  for (std::uint32_t code = 0; code < 256; ++code) table[code] = decode<F>(code);
  return table;
});
}  // namespace detail

/// The values of all 256 codes of a float8 type; zeros for others.
constexpr const std::array<float, 256>& code_values(DType dtype) noexcept {
  return detail::kCodeValues[static_cast<std::size_t>(dtype)];
}

/// The type of that full, short or safetensors name; `undefined` if there is none.
OCTAVO_API DType dtype_from_name(std::string_view name) noexcept;

}  // namespace octavo
