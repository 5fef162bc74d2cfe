// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/layer_tensors.hpp"

#include <map>

#include "checkpoint/sentence.hpp"

namespace octavo::checkpoint {
namespace {

/// Of a layer's tensors, what belongs to its weight; what has a dot of its own is a layer inside it
/// (LoRA), unless it is a part of the weight.
bool is_of_weight(std::string_view rest) {
  return rest != "bias" &&
         (rest.find('.') == std::string_view::npos || rest.starts_with("weight."));
}

/// ComfyUI's mark for the whole file.
bool is_mark(std::string_view tensor) { return tensor.ends_with("scaled_fp8"); }

}  // namespace

LayerTensors::LayerTensors(const Checkpoint& in) {
  const std::vector<std::string> stacks = in.quantized_experts();
  if (!stacks.empty()) {
    refuse(
        Code::unsupported,
        "Checkpoint: quantised experts must have a tensor each to be written in another form; got "
        "{} with all of them",
        in_quotes(stacks[0]));
  }
  for (std::string& name : in.quantized_layers()) names_.insert(std::move(name));
  std::map<std::string_view, const TensorEntry*> largest;
  for (const TensorEntry& entry : in.entries()) {
    const auto layer = layer_with(entry.name);
    if (!layer || is_mark(entry.name)) continue;
    const TensorEntry*& most = largest[*names_.find(*layer)];
    if (most == nullptr || entry.end - entry.begin > most->end - most->begin) most = &entry;
  }
  for (const auto& [name, codes] : largest) layers_.push_back({std::string(name), codes});
}

std::optional<std::string_view> LayerTensors::layer_with(std::string_view tensor) const {
  if (is_mark(tensor)) return tensor;
  for (std::size_t dot = tensor.find('.'); dot != std::string_view::npos;
       dot = tensor.find('.', dot + 1)) {
    const std::string_view layer = tensor.substr(0, dot);
    if (names_.contains(layer) && is_of_weight(tensor.substr(dot + 1))) return layer;
  }
  return std::nullopt;
}

Plan plan_of_others(const char* operation, const Checkpoint& in, const LayerTensors& tensors) {
  if (tensors.layers().empty()) {
    refuse(Code::invalid_argument, "{}: {} must hold quantised layers; got none among {} tensors",
           operation, in_quotes(in.path()), in.entries().size());
  }
  Plan plan{.operation = operation};
  for (const CheckpointFile& file : in.files()) plan.files.push_back({.name = file.name});
  for (const TensorEntry& entry : in.entries()) {
    if (tensors.is_part(entry)) continue;
    plan.files[entry.file].copy(entry);
    ++plan.tensors_copied;
  }
  return plan;
}

}  // namespace octavo::checkpoint
