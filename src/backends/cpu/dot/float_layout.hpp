// SPDX-License-Identifier: Apache-2.0
// Floating weights as the dot-product kernels read them.
#pragma once

#include <cstdint>

#include "backends/backend.hpp"
#include "backends/cpu/dot/panels.hpp"

namespace octavo::cpu {

/// The layout of fp8 ("f8x2"), bfloat16 ("bf16x2"), float16 ("f16x2") or float32 ("f32x1") weights,
/// null for other types. Version 1: panels in the form of the type; behind those of fp8 one byte
/// for each panel, not 0 where a code of the panel is no finite number.
const WeightLayout* float_layout(DType dtype) noexcept;

/// The form of those types, null for others.
const PanelForm* float_form(DType dtype) noexcept;

inline bool holds_other_codes(const Panels& panels, std::int64_t panel) noexcept {
  return panels.end()[panel] != 0;
}

}  // namespace octavo::cpu
