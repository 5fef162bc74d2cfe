// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/layers/layer_tensors.hpp"

#include <map>

#include "checkpoint/declared/kv_cache.hpp"

namespace octavo::checkpoint {
namespace {

/// Of a layer's tensors, what belongs to its weight; what has a dot of its own is a layer inside it
/// (LoRA), unless it is a part of the weight.
bool is_of_weight(std::string_view rest) {
  return rest != "bias" && !is_of_kv_cache(rest) &&
         (rest.find('.') == std::string_view::npos || rest.starts_with("weight."));
}

/// ComfyUI's mark for the whole file.
bool is_mark(std::string_view tensor) { return tensor.ends_with("scaled_fp8"); }

}  // namespace

LayerTensors::LayerTensors(const Checkpoint& in) : stacks_(stored_stacks(in.impl().header)) {
  for (std::string& name : in.quantized_layers()) names_.insert(std::move(name));
  std::map<std::string_view, const TensorEntry*> largest;
  for (const TensorEntry& entry : in.entries()) {
    const auto layer = layer_with(entry.name);
    if (!layer || is_mark(entry.name)) continue;
    const TensorEntry*& most = largest[*names_.find(*layer)];
    if (most == nullptr || entry.end - entry.begin > most->end - most->begin) most = &entry;
  }
  for (const auto& [name, codes] : largest) {
    layers_.push_back({std::string(name), codes, 0, codes->end - codes->begin});
  }
  alone_ = layers_.size();
  for (const StoredStack& stack : stacks_) add(stack);
}

void LayerTensors::add(const StoredStack& stack) {
  of_stacks_.insert({stack.codes, stack.scale});
  if (stack.input_scale != nullptr) of_stacks_.insert(stack.input_scale);
  std::vector<std::string> names = names_in_stack(stack);
  const std::int64_t bytes =
      (stack.codes->end - stack.codes->begin) / static_cast<std::int64_t>(names.size());
  std::int64_t begin = 0;
  for (std::string& name : names) {
    layers_.push_back({std::move(name), stack.codes, begin, bytes});
    begin += bytes;
  }
}

void LayerTensors::leave(const std::set<std::string>& layers) {
  for (const std::string& layer : layers) names_.erase(layer);
  std::erase_if(layers_, [&](const StoredLayer& layer) { return layers.contains(layer.name); });
  alone_ -= layers.size();
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

}  // namespace octavo::checkpoint
