// SPDX-License-Identifier: Apache-2.0
// What instructions of Arm compute, in plain C++.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

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

}  // namespace octavo::test::arm
