// SPDX-License-Identifier: Apache-2.0
// The options of products that can also be explained and measured.
#pragma once

#include "capi/operand.hpp"
#include "octavo/grouped.hpp"

namespace octavo::capi {

/// A supplied output makes the handle of the result optional.
inline bool result_optional(const TensorView& out) noexcept { return out.defined(); }

ScaledMmOptions scaled_mm_options(const octavo_scaled_mm_options* given);
GroupedOptions grouped_options(const octavo_grouped_mm_options* given);

}  // namespace octavo::capi
