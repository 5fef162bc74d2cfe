// SPDX-License-Identifier: Apache-2.0
// The plan of dequantising a checkpoint: every quantised layer as the float matrix that it stands
// for.
#pragma once

#include "checkpoint/steps/plan.hpp"
#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

/// Begins its sentences.
inline constexpr const char* kDequantize = "dequantize_file";

/// Throws Error (invalid_argument): no quantised layer.
WritePlan plan_dequantization(const Checkpoint& in, DType dtype);

}  // namespace octavo::checkpoint
