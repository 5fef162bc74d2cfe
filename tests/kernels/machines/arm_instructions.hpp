// SPDX-License-Identifier: Apache-2.0
// What instructions of Arm compute, in plain C++. What tests spend their time in is no call at any
// level of the compiler's.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "backends/cpu/kernels/isa_region.hpp"

namespace octavo::test::arm {

using Bytes = std::array<std::int8_t, 16>;
using Words = std::array<std::int16_t, 8>;
using Sums = std::array<std::int32_t, 4>;

inline std::int32_t wrapped(std::int32_t a, std::int32_t b) {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(a) + static_cast<std::uint32_t>(b));
}

/// sdot by lane: four bytes of every column meet bytes [4 * lane, 4 * lane + 4) of a.
inline Sums sdot(Sums sums, const Bytes& b, const Bytes& a, std::size_t lane) {
  for (std::size_t j = 0; j < 4; ++j) {
    for (std::size_t i = 0; i < 4; ++i) {
      sums[j] = wrapped(sums[j], b[4 * j + i] * a[4 * lane + i]);
    }
  }
  return sums;
}

/// smmla: two rows of eight bytes meet two columns of eight; sums are [row][column].
inline Sums smmla(Sums sums, const Bytes& a, const Bytes& b) {
  for (std::size_t r = 0; r < 2; ++r) {
    for (std::size_t j = 0; j < 2; ++j) {
      for (std::size_t i = 0; i < 8; ++i) {
        sums[2 * r + j] = wrapped(sums[2 * r + j], a[8 * r + i] * b[8 * j + i]);
      }
    }
  }
  return sums;
}

/// smull (half 0) and smull2 (half 1): words of eight products.
inline Words smull(const Bytes& a, const Bytes& b, std::size_t half) {
  Words products{};
  for (std::size_t i = 0; i < 8; ++i) {
    products[i] = static_cast<std::int16_t>(a[8 * half + i] * b[8 * half + i]);
  }
  return products;
}

/// sadalp: pairs of words are added.
inline Sums sadalp(Sums sums, const Words& words) {
  for (std::size_t j = 0; j < 4; ++j) {
    sums[j] = wrapped(sums[j], words[2 * j] + words[2 * j + 1]);
  }
  return sums;
}

using Halves = std::array<std::uint16_t, 8>;  // bfloat16
using Floats = std::array<float, 4>;

/// Numbers below 2^-126 are zeros with their sign, those from 2^128 on infinite.
OCTAVO_INLINE double flushed(double x) {
  if (std::abs(x) >= 0x1p128) return std::copysign(std::numeric_limits<double>::infinity(), x);
  return std::abs(x) < 0x1p-126 ? std::copysign(0.0, x) : x;
}
inline double value_of_half(std::uint16_t bits) {
  return flushed(std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16));
}

/// The sum of numbers that float32 can hold, rounded to odd: cut off, and the last bit set where
/// something was cut. Every NaN is the default one.
OCTAVO_INLINE float add_to_odd(double a, double b) {
  const double sum = a + b;
  if (std::isnan(sum)) return std::numeric_limits<float>::quiet_NaN();
  if (std::isinf(sum)) return static_cast<float>(sum);
  const double part = sum - a;
  const double lost = (a - (sum - part)) + (b - part);
  auto bits = std::bit_cast<std::uint64_t>(sum);
  if (lost != 0 && (lost < 0) != (sum < 0)) --bits;  // towards zero
  constexpr std::uint64_t kCut = (1U << 29) - 1;
  const bool odd = lost != 0 || (bits & kCut) != 0;
  const double cut = std::bit_cast<double>(bits & ~kCut);
  const auto rounded = std::bit_cast<std::uint32_t>(static_cast<float>(flushed(cut)));
  const bool number = (rounded << 1) != 0 && (rounded << 1) != 0xFF000000U;
  return std::bit_cast<float>(rounded | (number && odd ? 1U : 0U));
}

/// Two products, then their sum, are added: what bfdot does in a lane.
inline float add_pair(float sum, const std::uint16_t* a, const std::uint16_t* b) {
  const double first = flushed(value_of_half(a[0]) * value_of_half(b[0]));
  const double second = flushed(value_of_half(a[1]) * value_of_half(b[1]));
  return add_to_odd(flushed(sum), add_to_odd(first, second));
}

/// bfdot by lane: two elements of every column meet elements 2 * lane and 2 * lane + 1 of a.
inline Floats bfdot(Floats sums, const Halves& b, const Halves& a, std::size_t lane) {
  for (std::size_t j = 0; j < 4; ++j) {
    sums[j] = add_pair(sums[j], b.data() + 2 * j, a.data() + 2 * lane);
  }
  return sums;
}

/// bfmmla: two rows of four elements meet two columns of four, pair by pair; sums are
/// [row][column].
inline Floats bfmmla(Floats sums, const Halves& a, const Halves& b) {
  for (std::size_t i = 0; i < 4; ++i) {
    for (std::size_t pair = 0; pair < 4; pair += 2) {
      sums[i] = add_pair(sums[i], a.data() + i / 2 * 4 + pair, b.data() + i % 2 * 4 + pair);
    }
  }
  return sums;
}

}  // namespace octavo::test::arm
