// SPDX-License-Identifier: Apache-2.0
// int8 weights as the dot-product kernels read them.
#pragma once

#include <cstdint>

#include "backends/backend.hpp"
#include "backends/cpu/kernels/int8.hpp"

namespace octavo::cpu {

/// Version 1: panels of 64 columns, the last one of as many whole vectors of 16 as it needs; each
/// [K / 4][columns][4], padded with zeros; behind them one int32 sum for each column. One byte a
/// weight.
extern const WeightLayout kDotLayout;

inline std::int64_t dot_steps(std::int64_t k) noexcept { return (k + kStep - 1) / kStep; }
inline std::int64_t dot_vectors(std::int64_t n) noexcept {
  return (n + kVectorCols - 1) / kVectorCols;
}

/// Panels of a packed weight.
class DotPanels {
 public:
  DotPanels(const void* packed, std::int64_t k, std::int64_t n) noexcept
      : codes_(static_cast<const std::int8_t*>(packed)),
        steps_(dot_steps(k)),
        vectors_(dot_vectors(n)) {}

  /// Whole vectors of the panel that begins at vector `first`.
  std::int64_t vectors(std::int64_t first) const noexcept {
    return vectors_ - first < kPanelVectors ? vectors_ - first : kPanelVectors;
  }
  /// Its codes from step `step` on.
  const std::int8_t* codes(std::int64_t first, std::int64_t step) const noexcept {
    return codes_ + (first * steps_ + step * vectors(first)) * kVectorCols * kStep;
  }
  const std::int32_t* sums(std::int64_t first) const noexcept {
    const std::int8_t* end = codes_ + vectors_ * steps_ * kVectorCols * kStep;
    return reinterpret_cast<const std::int32_t*>(end) + first * kVectorCols;
  }

 private:
  const std::int8_t* codes_;
  std::int64_t steps_, vectors_;
};

}  // namespace octavo::cpu
