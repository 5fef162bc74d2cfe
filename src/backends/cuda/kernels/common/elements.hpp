// SPDX-License-Identifier: Apache-2.0
// Elements of any data type in global memory: section 1's conversions in device code. What
// core/data/element.cpp is on the host, with the same bits.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "backends/cuda/machine/types.hpp"
#include "octavo/dtype.hpp"
#include "octavo/matrix.hpp"
#include "octavo/numeric.hpp"
#include "octavo/problem.hpp"
#include "octavo/scale.hpp"

namespace octavo::cuda {

/// How the type of a row of kDTypes is stored, and what it is in float32.
template <std::size_t row>
struct Codec {
  static constexpr DType kType = kDTypes[row].dtype;
  static constexpr DTypeKind kKind = kDTypes[row].kind;
  static constexpr FloatFormat kFormat = kDTypes[row].format;
  static constexpr bool kHalf = kKind == DTypeKind::wide && kDTypes[row].bits == 16;
  using Raw = std::conditional_t<
      kType == DType::int8, std::int8_t,
      std::conditional_t<
          kType == DType::int32, std::int32_t,
          std::conditional_t<
              kType == DType::int64, std::int64_t,
              std::conditional_t<kType == DType::float32, float,
                                 std::conditional_t<kHalf, std::uint16_t, std::uint8_t>>>>>;
  static constexpr bool kInteger =
      std::is_integral_v<Raw> && kKind != DTypeKind::float8 && kKind != DTypeKind::scale8 && !kHalf;

  OCTAVO_HOST_DEVICE static float decode(Raw code) {
    if constexpr (kKind == DTypeKind::float8 || kHalf) {
      return octavo::decode<kFormat>(code);
    } else if constexpr (kKind == DTypeKind::scale8) {
      return decode_e8m0(code);
    } else {
      return static_cast<float>(code);
    }
  }
  /// 16-bit floats overflow to infinity, as IEEE 754 says.
  OCTAVO_HOST_DEVICE static Raw encode(float x, Overflow overflow) {
    if constexpr (kKind == DTypeKind::float8) {
      return static_cast<Raw>(octavo::encode<kFormat>(x, overflow));
    } else if constexpr (kHalf) {
      return static_cast<Raw>(octavo::encode<kFormat>(x, Overflow::ieee));
    } else if constexpr (kKind == DTypeKind::scale8) {
      return static_cast<Raw>(encode_e8m0(x));
    } else if constexpr (kType == DType::float32) {
      return x;
    } else if constexpr (kType == DType::int8) {
      return round_to_int8(x);
    } else if constexpr (kType == DType::uint8) {
      return round_to_uint8(x);
    } else {
      return static_cast<Raw>(round_to_int32(x));
    }
  }
};

namespace detail {
constexpr bool is_computed_with(DTypeKind kind) {
  return kind != DTypeKind::none && kind != DTypeKind::foreign;
}
template <class Visit, std::size_t... row>
OCTAVO_HOST_DEVICE void visit_codec(DType dtype, const Visit& visit, std::index_sequence<row...>) {
  const auto one = [&]<std::size_t i>() {
    if constexpr (is_computed_with(kDTypes[i].kind)) {
      if (dtype == kDTypes[i].dtype) visit(Codec<i>());
    }
  };
  (one.template operator()<row>(), ...);
}
}  // namespace detail

/// visit(Codec<row>()) for the row of a type; nothing for types that are never computed with.
template <class Visit>
OCTAVO_HOST_DEVICE void with_codec(DType dtype, const Visit& visit) {
  detail::visit_codec(dtype, visit, std::make_index_sequence<kDTypes.size()>());
}

/// The float32 value of element `offset` from `base`, rounded once for wide integers; 0 for types
/// that are never computed with.
template <class Machine>
OCTAVO_DEVICE float read_float(Machine& m, DType dtype, const void* base, std::int64_t offset) {
  float value = 0.0F;
  with_codec(dtype, [&]<std::size_t row>(Codec<row>) {
    using Raw = typename Codec<row>::Raw;
    value = Codec<row>::decode(m.load_global(static_cast<const Raw*>(base) + offset));
  });
  return value;
}

/// The value of a 16-bit element: a few instructions. A NaN keeps its payload.
OCTAVO_HOST_DEVICE constexpr float widened_bf16(std::uint32_t code) {
  return std::bit_cast<float>(code << 16);
}
OCTAVO_HOST_DEVICE constexpr float widened_f16(std::uint32_t code) {
  const std::uint32_t magnitude = code & 0x7FFFU;
  // Its subnormals are float32's until they are multiplied.
  const float value = std::bit_cast<float>(magnitude << 13) * 0x1p112F;
  const std::uint32_t exponent = magnitude >= 0x7C00U ? 0x7F800000U : 0U;
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) | exponent |
                              (code & 0x8000U) << 16);
}

/// An element of one of the three wide types: bfloat16, float16 or float32.
template <class Machine>
OCTAVO_DEVICE float read_wide(Machine& m, DType dtype, const void* base, std::int64_t offset) {
  if (dtype == DType::float32) return m.load_global(static_cast<const float*>(base) + offset);
  const std::uint16_t code = m.load_global(static_cast<const std::uint16_t*>(base) + offset);
  return dtype == DType::bfloat16 ? decode<kBFloat16>(code) : decode<kFloat16>(code);
}

/// The value of an element of an integer type; 0 for others.
template <class Machine>
OCTAVO_DEVICE std::int64_t read_int(Machine& m, DType dtype, const void* base,
                                    std::int64_t offset) {
  std::int64_t value = 0;
  with_codec(dtype, [&]<std::size_t row>(Codec<row>) {
    using Raw = typename Codec<row>::Raw;
    if constexpr (Codec<row>::kInteger)
      value = m.load_global(static_cast<const Raw*>(base) + offset);
  });
  return value;
}

/// Element `offset` becomes the value of its type nearest to `value`.
template <class Machine>
OCTAVO_DEVICE void write_float(Machine& m, DType dtype, void* base, std::int64_t offset,
                               float value, Overflow overflow) {
  with_codec(dtype, [&]<std::size_t row>(Codec<row>) {
    using Raw = typename Codec<row>::Raw;
    m.store_global(static_cast<Raw*>(base) + offset, Codec<row>::encode(value, overflow));
  });
}

/// The int32 nearest to an exact sum.
OCTAVO_HOST_DEVICE std::int32_t saturated_int32(std::int64_t sum) {
  constexpr std::int64_t kMost = 2147483647;
  sum = sum < kMost ? sum : kMost;
  return static_cast<std::int32_t>(sum > -kMost - 1 ? sum : -kMost - 1);
}

/// Element (i, j).
template <class Machine>
OCTAVO_DEVICE float read_float(Machine& m, const Elements& x, std::int64_t i, std::int64_t j) {
  return read_float(m, x.dtype, x.data, i * x.strides[0] + j * x.strides[1]);
}
template <class Machine>
OCTAVO_DEVICE std::int64_t read_int(Machine& m, const Elements& x, std::int64_t i, std::int64_t j) {
  return read_int(m, x.dtype, x.data, i * x.strides[0] + j * x.strides[1]);
}
template <class Machine>
OCTAVO_DEVICE void write_float(Machine& m, const Elements& x, std::int64_t i, std::int64_t j,
                               float value, Overflow overflow = Overflow::saturate) {
  write_float(m, x.dtype, x.data, i * x.strides[0] + j * x.strides[1], value, overflow);
}

/// Which cell of so many elements holds element i. Most cells are single elements or whole extents,
/// and a division of 64 bits is a hundred instructions.
OCTAVO_HOST_DEVICE std::int64_t cell_of(std::int64_t i, std::int64_t size) {
  if (size == 1) return i;
  if (i < size) return 0;
  if ((i | size) >> 32 == 0)
    return static_cast<std::uint32_t>(i) / static_cast<std::uint32_t>(size);
  return i / size;
}

/// What element (i, j) of an operand is multiplied by; 1 where there is no scale.
template <class Machine>
OCTAVO_DEVICE float read_scale(Machine& m, const ScaleView& scale, std::int64_t i, std::int64_t j) {
  if (scale.kind != ScaleKind::tensor) return scale.number;
  return read_float(m, scale.data, cell_of(scale.row0 + i, scale.rows),
                    cell_of(scale.col0 + j, scale.cols));
}

/// A factor of column n; 1 where it is absent.
template <class Machine>
OCTAVO_DEVICE float read_factor(Machine& m, const Factor& factor, std::int64_t n) {
  return factor.kind != Factor::Kind::tensor ? factor.number : read_float(m, factor.data, 0, n);
}

}  // namespace octavo::cuda
