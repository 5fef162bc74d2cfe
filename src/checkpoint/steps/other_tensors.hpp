// SPDX-License-Identifier: Apache-2.0
// The steps of tensors that are part of no quantised layer.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "checkpoint/layers/layer_tensors.hpp"
#include "checkpoint/steps/plan.hpp"

namespace octavo::checkpoint {

/// A plan that copies what is part of no quantised layer, with warnings of rules that nothing
/// applies. Stacks of experts stay one tensor, but for those whose prefix is in `cut`: they become
/// a layer for each expert, which takes its part of the stack's biases. Throws Error
/// (invalid_argument) where there is no quantised layer. Tensors that `elsewhere` takes are left
/// out.
WritePlan plan_of_others(const char* operation, const Checkpoint& in, const LayerTensors& tensors,
                         const std::set<std::string>& cut,
                         const std::function<bool(const TensorEntry&)>& elsewhere = {});

/// Adds a bias for each layer of a stack whose biases [E, N] are one tensor.
void cut_biases(FilePlan& file, const Checkpoint& in, const TensorEntry& entry,
                std::vector<ExpertLayer> biases);

}  // namespace octavo::checkpoint
