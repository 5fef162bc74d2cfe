// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/plan/dequantize_plan.hpp"

#include <string>
#include <vector>

#include "checkpoint/layers/foreign_layers.hpp"
#include "checkpoint/layers/layer_tensors.hpp"
#include "checkpoint/open/plain_fp8.hpp"
#include "checkpoint/steps/float_layers.hpp"
#include "checkpoint/steps/other_tensors.hpp"

namespace octavo::checkpoint {

WritePlan plan_dequantization(const Checkpoint& in, DType dtype) {
  LayerTensors tensors(in);
  const std::vector<ForeignLayer> foreign = take_foreign(kDequantize, in, tensors);
  const auto is_value = [&](const TensorEntry& entry) {
    return is_plain_fp8(in.impl(), entry) || (in.impl().gguf && in.impl().gguf->is_widened(entry));
  };
  WritePlan plan = plan_of_others(kDequantize, in, tensors, {}, is_value);
  for (const TensorEntry& entry : in.entries()) {  // a bias, a norm of a model cast to fp8
    if (is_value(entry) && !tensors.is_part(entry)) {
      add_float_tensor(plan.files[entry.file], in, entry, dtype);
    }
  }
  if (!foreign.empty()) {
    std::vector<std::string> floats;
    for (const StoredLayer& layer : tensors.layers()) floats.push_back(layer.name);
    const std::string rest = declared_without(in, floats);
    if (!rest.empty()) plan.config = rest;
    plan.warnings.push_back(left_as_stored(kDequantize, foreign, !rest.empty()));
  }
  for (const StoredLayer& layer : tensors.alone()) {
    add_float_layer(plan.files[layer.codes->file], in, layer, dtype);
  }
  for (const StoredStack& stack : tensors.stacks()) {
    add_float_stack(plan.files[stack.codes->file], in, stack, dtype);
  }
  return plan;
}

}  // namespace octavo::checkpoint
