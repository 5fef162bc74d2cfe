// SPDX-License-Identifier: Apache-2.0
// What codes lose of the values that they stand for.
#pragma once

#include <cstdint>

namespace octavo {

/// Sums over values w and their codes' values w' = code * scale, rounded to float32.
struct CodeErrors {
  double signal = 0;           ///< of w^2
  double noise = 0;            ///< of (w - w')^2
  double largest = 0;          ///< |w - w'|
  std::int64_t saturated = 0;  ///< codes of the type's largest magnitude and beyond
  bool finite = true;          ///< all w are

  CodeErrors& operator+=(const CodeErrors& other) noexcept {
    signal += other.signal;
    noise += other.noise;
    largest = other.largest > largest ? other.largest : largest;
    saturated += other.saturated;
    finite = finite && other.finite;
    return *this;
  }
};

}  // namespace octavo
