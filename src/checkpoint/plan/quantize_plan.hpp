// SPDX-License-Identifier: Apache-2.0
// The plan of quantising a checkpoint: which tensors are linear layers.
#pragma once

#include "checkpoint/steps/plan.hpp"
#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

/// Throws Error (invalid_argument): a checkpoint that is quantised already or has no layer to
/// quantise, ignored names that match nothing, outlier columns of layers that are not quantised.
WritePlan plan_quantization(const Checkpoint& in, const QuantizeFileOptions& options);

}  // namespace octavo::checkpoint
