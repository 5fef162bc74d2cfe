// SPDX-License-Identifier: Apache-2.0
// Products of extents that could leave 64 bits.
//
// What an operation allocates and counts is made of extents that a caller chose, at most two of
// them multiplied, each perhaps padded to a panel, in elements of at most 8 bytes. A tensor or a
// product whose last two extents stay below 2^63 so is accepted; everything smaller then needs no
// check. Sums of several such products saturate (Arena).
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>

namespace octavo {

inline constexpr std::int64_t kMostBytes = std::numeric_limits<std::int64_t>::max();
inline constexpr std::int64_t kPaddedExtent = 64;  ///< of rows and columns, in any layout
inline constexpr std::int64_t kWidestElement = 8;  ///< bytes

/// a * b of two that are not negative, or kMostBytes.
constexpr std::int64_t saturating_product(std::int64_t a, std::int64_t b) noexcept {
  std::int64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) ? kMostBytes : product;
}
constexpr std::int64_t saturating_sum(std::int64_t a, std::int64_t b) noexcept {
  std::int64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? kMostBytes : sum;
}

/// True where a shape, its last two extents padded to panels, counts less than 2^63 bytes of the
/// widest elements. Extents are not negative; an empty one counts as 1.
constexpr bool fits_padded(std::span<const std::int64_t> shape) noexcept {
  std::int64_t bytes = kWidestElement;
  for (std::size_t d = 0; d < shape.size(); ++d) {
    std::int64_t extent = std::max<std::int64_t>(shape[d], 1);
    if (d + 2 >= shape.size()) {
      if (extent > kMostBytes - kPaddedExtent) return false;
      extent = (extent + kPaddedExtent - 1) / kPaddedExtent * kPaddedExtent;
    }
    if (__builtin_mul_overflow(bytes, extent, &bytes)) return false;
  }
  return true;
}

}  // namespace octavo
