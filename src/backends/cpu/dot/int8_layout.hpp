// SPDX-License-Identifier: Apache-2.0
// int8 weights as the dot-product kernels read them.
#pragma once

#include <cstdint>

#include "backends/backend.hpp"
#include "backends/cpu/dot/panels.hpp"

namespace octavo::cpu {

/// "i8x4", version 1: panels of kInt8Form; behind them one int32 sum for each column. One byte a
/// weight.
extern const WeightLayout kInt8Layout;

inline Panels int8_panels(const void* packed, std::int64_t k, std::int64_t n) noexcept {
  return {packed, kInt8Form, k, n};
}
/// The sums of a panel's columns.
inline const std::int32_t* column_sums(const Panels& panels, std::int64_t panel) noexcept {
  return reinterpret_cast<const std::int32_t*>(panels.end()) + panel * kPanelWidth;
}

}  // namespace octavo::cpu
