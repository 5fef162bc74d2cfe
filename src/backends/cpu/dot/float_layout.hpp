// SPDX-License-Identifier: Apache-2.0
// Floating weights as the dot-product kernels read them.
#pragma once

#include <cstdint>

#include "backends/backend.hpp"
#include "backends/cpu/dot/panels.hpp"

namespace octavo::cpu {

/// Version 1, of fp8, bfloat16 and float32: panels in the form of their type; behind those of fp8
/// one byte for each panel, not 0 where a code of the panel is 0x80.
extern const WeightLayout kFloatLayout;

/// The form of a type of that layout, null for other types.
const PanelForm* float_form(DType dtype) noexcept;

inline bool holds_negative_zero(const Panels& panels, std::int64_t panel) noexcept {
  return panels.end()[panel] != 0;
}

}  // namespace octavo::cpu
