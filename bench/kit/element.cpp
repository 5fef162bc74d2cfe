// SPDX-License-Identifier: Apache-2.0
// Elements as doubles.
#include "kit/element.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "octavo/numeric.hpp"

namespace octavo::kit {
namespace {

template <class T>
T raw(const TensorView& view, std::int64_t offset) {
  T value;
  std::memcpy(&value, view.at(offset), sizeof(T));
  return value;
}
template <class T, class V>
void put(const TensorView& view, std::int64_t offset, V value) {
  const auto stored = static_cast<T>(value);
  std::memcpy(view.at(offset), &stored, sizeof(T));
}

// Significand bits (the hidden one included) and the smallest normal exponent.
struct Precision {
  DType dtype;
  int bits, min_exponent;
};
constexpr std::array<Precision, 7> kPrecisions{{
    {DType::float8_e4m3fn, 4, -6},
    {DType::float8_e4m3fnuz, 4, -7},
    {DType::float8_e5m2, 3, -14},
    {DType::float8_e5m2fnuz, 3, -15},
    {DType::bfloat16, 8, -126},
    {DType::float16, 11, -14},
    {DType::float32, 24, -126},
}};

}  // namespace

double load(const TensorView& v, std::int64_t offset) {
  switch (v.dtype) {
    case DType::float8_e4m3fn:
      return decode<kE4M3FN>(raw<std::uint8_t>(v, offset));
    case DType::float8_e4m3fnuz:
      return decode<kE4M3FNUZ>(raw<std::uint8_t>(v, offset));
    case DType::float8_e5m2:
      return decode<kE5M2>(raw<std::uint8_t>(v, offset));
    case DType::float8_e5m2fnuz:
      return decode<kE5M2FNUZ>(raw<std::uint8_t>(v, offset));
    case DType::float8_e8m0fnu:
      return decode_e8m0(raw<std::uint8_t>(v, offset));
    case DType::bfloat16:
      return decode<kBFloat16>(raw<std::uint16_t>(v, offset));
    case DType::float16:
      return decode<kFloat16>(raw<std::uint16_t>(v, offset));
    case DType::float32:
      return raw<float>(v, offset);
    case DType::int8:
      return raw<std::int8_t>(v, offset);
    case DType::uint8:
      return raw<std::uint8_t>(v, offset);
    case DType::int32:
      return raw<std::int32_t>(v, offset);
    case DType::int64:
      return static_cast<double>(raw<std::int64_t>(v, offset));
    default:
      return std::nan("");
  }
}

double load(const TensorView& v, std::int64_t i, std::int64_t j) {
  return load(v, i * v.strides[0] + (v.rank > 1 ? j * v.strides[1] : 0));
}

void store(const TensorView& v, std::int64_t offset, double value) {
  const auto x = static_cast<float>(value);
  switch (v.dtype) {
    case DType::float8_e4m3fn:
      return put<std::uint8_t>(v, offset, encode<kE4M3FN>(x));
    case DType::float8_e4m3fnuz:
      return put<std::uint8_t>(v, offset, encode<kE4M3FNUZ>(x));
    case DType::float8_e5m2:
      return put<std::uint8_t>(v, offset, encode<kE5M2>(x));
    case DType::float8_e5m2fnuz:
      return put<std::uint8_t>(v, offset, encode<kE5M2FNUZ>(x));
    case DType::float8_e8m0fnu:
      return put<std::uint8_t>(v, offset, encode_e8m0(x));
    case DType::bfloat16:
      return put<std::uint16_t>(v, offset, encode<kBFloat16>(x, Overflow::ieee));
    case DType::float16:
      return put<std::uint16_t>(v, offset, encode<kFloat16>(x, Overflow::ieee));
    case DType::float32:
      return put<float>(v, offset, x);
    case DType::int8:
      return put<std::int8_t>(v, offset, std::clamp(std::nearbyint(value), -128.0, 127.0));
    case DType::uint8:
      return put<std::uint8_t>(v, offset, std::clamp(std::nearbyint(value), 0.0, 255.0));
    case DType::int32:
      return put<std::int32_t>(v, offset, std::nearbyint(value));
    case DType::int64:
      return put<std::int64_t>(v, offset, std::nearbyint(value));
    default:
      return;
  }
}

double half_ulp(DType dtype, double value) {
  for (const Precision& p : kPrecisions) {
    if (p.dtype != dtype) continue;
    const int exponent =
        value == 0.0 ? p.min_exponent : std::max(std::ilogb(value), p.min_exponent);
    return std::ldexp(0.5, exponent - p.bits + 1);
  }
  return 0.5;
}

}  // namespace octavo::kit
