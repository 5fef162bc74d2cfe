// SPDX-License-Identifier: Apache-2.0
// The tensor cores' fused sum in doubles, as its authors describe it (arXiv 2511.10909): what
// simulator/arithmetic.hpp does in fixed point is held to this.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>
#include <vector>

#include "kit/operands/element.hpp"
#include "simulator/arithmetic.hpp"

namespace octavo::test {

using cuda::MmaType;
using cuda::simulator::TensorUnit;

struct MmaCase {
  MmaType type;
  DType a, b;
  const char* name;
};
inline constexpr MmaCase kMmaCases[] = {
    {MmaType::s8_s8, DType::int8, DType::int8, "s8_s8"},
    {MmaType::u8_s8, DType::uint8, DType::int8, "u8_s8"},
    {MmaType::s8_u8, DType::int8, DType::uint8, "s8_u8"},
    {MmaType::u8_u8, DType::uint8, DType::uint8, "u8_u8"},
    {MmaType::e4m3_e4m3, DType::float8_e4m3fn, DType::float8_e4m3fn, "e4m3_e4m3"},
    {MmaType::e4m3_e5m2, DType::float8_e4m3fn, DType::float8_e5m2, "e4m3_e5m2"},
    {MmaType::e5m2_e4m3, DType::float8_e5m2, DType::float8_e4m3fn, "e5m2_e4m3"},
    {MmaType::e5m2_e5m2, DType::float8_e5m2, DType::float8_e5m2, "e5m2_e5m2"},
    {MmaType::bf16_bf16, DType::bfloat16, DType::bfloat16, "bf16_bf16"},
    {MmaType::f16_f16, DType::float16, DType::float16, "f16_f16"},
};
inline constexpr TensorUnit kUnits[] = {TensorUnit::wgmma, TensorUnit::mma_sync,
                                        TensorUnit::mma_sync_of_8};
/// Whether a unit has an instruction of the type.
constexpr bool has(TensorUnit unit, MmaType type) {
  return unit != TensorUnit::mma_sync_of_8 || cuda::is_integer(type) || cuda::is_half(type);
}

/// A number as significand in [1, 2) and exponent; below the smallest exponent the significand
/// shrinks; zero has the exponent -126.
struct FloatParts {
  double significand;
  int exponent;

  FloatParts(double x, int smallest) {
    significand = 2.0 * std::frexp(x, &exponent);
    exponent -= 1;
    if (exponent < smallest) {
      significand = std::ldexp(significand, exponent - smallest);
      exponent = smallest;
    }
    if (x == 0.0) exponent = -126;
  }
};

struct FusedSum {
  int sum_bits;
  int result_bits;

  /// c + sum of a b, whose formats' smallest exponents are given.
  float operator()(const std::vector<double>& a, int smallest_a, const std::vector<double>& b,
                   int smallest_b, float c) const {
    double plain = c;
    for (std::size_t k = 0; k < a.size(); ++k) plain += a[k] * b[k];
    if (std::isnan(plain)) return std::bit_cast<float>(0x7FFFFFFFU);
    if (std::isinf(plain)) return static_cast<float>(plain);

    const FloatParts first(c, -126);
    std::vector<std::pair<double, int>> terms{{first.significand, first.exponent}};
    for (std::size_t k = 0; k < a.size(); ++k) {
      const FloatParts left(a[k], smallest_a);
      const FloatParts right(b[k], smallest_b);
      terms.emplace_back(left.significand * right.significand, left.exponent + right.exponent);
    }
    int largest = terms[0].second;
    for (const auto& term : terms) largest = std::max(largest, term.second);
    double sum = 0.0;
    for (const auto& [significand, exponent] : terms) {
      const double aligned = std::ldexp(significand, sum_bits + exponent - largest);
      sum += std::ldexp(std::trunc(aligned), -sum_bits);
    }
    const FloatParts result(std::ldexp(sum, largest), -126);
    const double kept = std::trunc(std::ldexp(result.significand, result_bits));
    const double value = std::ldexp(kept, result.exponent - result_bits) + 0.0;
    if (std::abs(value) >= 0x1p128) return std::copysign(HUGE_VALF, static_cast<float>(value));
    return static_cast<float>(value);
  }
};

inline int smallest_exponent(DType dtype) {
  if (dtype == DType::bfloat16) return -126;
  return dtype == DType::float8_e4m3fn ? -6 : -14;
}

/// One step of one element as published, of the 32 bytes of its row and its column.
inline std::uint32_t published_step(TensorUnit unit, const MmaCase& mma, const std::uint8_t* a,
                                    const std::uint8_t* b, std::uint32_t c) {
  const int count = cuda::step_k(mma.type);
  std::vector<double> left, right;
  for (int k = 0; k < count; ++k) {
    left.push_back(kit::load(mma.a, a, k));
    right.push_back(kit::load(mma.b, b, k));
  }
  if (cuda::is_integer(mma.type)) {
    std::int64_t sum = static_cast<std::int32_t>(c);
    for (std::size_t k = 0; k < left.size(); ++k) {
      sum += static_cast<std::int64_t>(left[k] * right[k]);
    }
    return static_cast<std::uint32_t>(sum);
  }
  const float start = std::bit_cast<float>(c);
  const int in_a = smallest_exponent(mma.a);
  const int in_b = smallest_exponent(mma.b);
  if (unit == TensorUnit::mma_sync_of_8) {
    float sum = start;
    for (const std::ptrdiff_t first : {0, 8}) {
      const auto eight = [first](const std::vector<double>& x) {
        return std::vector<double>(x.begin() + first, x.begin() + first + 8);
      };
      sum = FusedSum{24, 23}(eight(left), in_a, eight(right), in_b, sum);
    }
    return std::bit_cast<std::uint32_t>(sum);
  }
  if (cuda::is_half(mma.type)) {
    return std::bit_cast<std::uint32_t>(FusedSum{25, 23}(left, in_a, right, in_b, start));
  }
  if (unit == TensorUnit::wgmma) {
    return std::bit_cast<std::uint32_t>(FusedSum{13, 13}(left, in_a, right, in_b, start));
  }
  // As ptxas compiles it: fp16 of elements 0 and 1 of every four, then 2 and 3; c is added last.
  float sum = 0.0F;
  for (std::size_t half = 0; half < 4; half += 2) {
    std::vector<double> some_left, some_right;
    for (std::size_t k = half; k < 32; k += 4) {
      some_left.insert(some_left.end(), {left[k], left[k + 1]});
      some_right.insert(some_right.end(), {right[k], right[k + 1]});
    }
    sum = FusedSum{25, 23}(some_left, -14, some_right, -14, sum);
  }
  const float total = start + sum;
  return std::isnan(total) ? 0x7FFFFFFFU : std::bit_cast<std::uint32_t>(total);
}

}  // namespace octavo::test
