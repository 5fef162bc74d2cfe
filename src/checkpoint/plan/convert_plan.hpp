// SPDX-License-Identifier: Apache-2.0
// The plan of converting a checkpoint: every quantised layer in the terms of another format.
#pragma once

#include "checkpoint/steps/plan.hpp"
#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

/// Throws Error (invalid_argument, unsupported): no quantised layer, or one that the format has no
/// place for.
WritePlan plan_conversion(const Checkpoint& in, Format format);

}  // namespace octavo::checkpoint
