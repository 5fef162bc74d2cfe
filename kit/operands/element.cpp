// SPDX-License-Identifier: Apache-2.0
// Elements as doubles.
#include "kit/operands/element.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "octavo/numeric.hpp"

namespace octavo::kit {
namespace {

template <class T>
T raw(const void* data, std::int64_t offset) {
  T value;
  std::memcpy(&value, static_cast<const char*>(data) + offset * std::int64_t{sizeof(T)}, sizeof(T));
  return value;
}
template <class T, class V>
void put(void* data, std::int64_t offset, V value) {
  const auto stored = static_cast<T>(value);
  std::memcpy(static_cast<T*>(data) + offset, &stored, sizeof(T));
}

constexpr auto kEncodeFloat8 = by_float8<std::uint32_t (*)(float, Overflow) noexcept>(
    []<FloatFormat F>() { return &encode<F>; });

}  // namespace

double load(DType dtype, const void* data, std::int64_t offset) {
  if (is_float8(dtype)) return code_values(dtype)[raw<std::uint8_t>(data, offset)];
  switch (dtype) {
    case DType::float8_e8m0fnu:
      return decode_e8m0(raw<std::uint8_t>(data, offset));
    case DType::bfloat16:
      return decode<kBFloat16>(raw<std::uint16_t>(data, offset));
    case DType::float16:
      return decode<kFloat16>(raw<std::uint16_t>(data, offset));
    case DType::float32:
      return raw<float>(data, offset);
    case DType::float64:
      return raw<double>(data, offset);
    case DType::int8:
      return raw<std::int8_t>(data, offset);
    case DType::uint8:
      return raw<std::uint8_t>(data, offset);
    case DType::int32:
      return raw<std::int32_t>(data, offset);
    case DType::int64:
      return static_cast<double>(raw<std::int64_t>(data, offset));
    default:
      return std::nan("");
  }
}

double load(const TensorView& v, std::int64_t i, std::int64_t j) {
  return load(v, i * v.strides[0] + (v.rank > 1 ? j * v.strides[1] : 0));
}

void store(DType dtype, void* data, std::int64_t offset, double value) {
  const auto x = static_cast<float>(value);
  if (is_float8(dtype)) {
    const auto encoder = kEncodeFloat8[static_cast<std::size_t>(dtype)];
    return put<std::uint8_t>(data, offset, encoder(x, Overflow::saturate));
  }
  switch (dtype) {
    case DType::float8_e8m0fnu:
      return put<std::uint8_t>(data, offset, encode_e8m0(x));
    case DType::bfloat16:
      return put<std::uint16_t>(data, offset, encode<kBFloat16>(x, Overflow::ieee));
    case DType::float16:
      return put<std::uint16_t>(data, offset, encode<kFloat16>(x, Overflow::ieee));
    case DType::float32:
      return put<float>(data, offset, x);
    case DType::float64:
      return put<double>(data, offset, value);
    case DType::int8:
      return put<std::int8_t>(data, offset, std::clamp(std::nearbyint(value), -128.0, 127.0));
    case DType::uint8:
      return put<std::uint8_t>(data, offset, std::clamp(std::nearbyint(value), 0.0, 255.0));
    case DType::int32:
      return put<std::int32_t>(data, offset, std::nearbyint(value));
    case DType::int64:
      return put<std::int64_t>(data, offset, std::nearbyint(value));
    default:
      return;
  }
}

double half_ulp(DType dtype, double value) {
  if (!is_floating(dtype)) return 0.5;
  const FloatFormat& format = info(dtype).format;
  const int mantissa_bits = dtype == DType::float32 ? 23 : format.mantissa_bits;
  const int min_exponent = dtype == DType::float32 ? -126 : 1 - format.bias;
  const int exponent = value == 0.0 ? min_exponent : std::max(std::ilogb(value), min_exponent);
  return std::ldexp(0.5, exponent - mantissa_bits);
}

}  // namespace octavo::kit
