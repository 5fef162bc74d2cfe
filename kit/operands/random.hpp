// SPDX-License-Identifier: Apache-2.0
// Reproducible numbers: the value at an index depends on the seed and the index alone.
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>

namespace octavo::kit {

/// SplitMix64 as a hash of (stream, index). Source: Steele et al., OOPSLA 2014.
class Random {
 public:
  explicit Random(std::uint64_t stream) : stream_(mix(stream + 0x9E3779B97F4A7C15U)) {}

  std::uint64_t bits(std::uint64_t index) const {
    return mix(stream_ + (index + 1) * 0x9E3779B97F4A7C15U);
  }
  /// In [0, 1).
  double uniform(std::uint64_t index) const {
    return static_cast<double>(bits(index) >> 11) * 0x1p-53;
  }
  /// Standard normal (Box and Muller).
  double gauss(std::uint64_t index) const {
    const double u = 1.0 - uniform(2 * index);
    const double v = uniform(2 * index + 1);
    return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v);
  }

 private:
  static std::uint64_t mix(std::uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31);
  }
  std::uint64_t stream_;
};

}  // namespace octavo::kit
