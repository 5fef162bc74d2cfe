// SPDX-License-Identifier: Apache-2.0
// The layers of a report's models that are in float.
#pragma once

#include <map>
#include <string>

#include "hub.hpp"
#include "octavo/checkpoint/linear_layers.hpp"

namespace octavo::cli {

/// The float weights of a model by layer.
class FloatWeights {
 public:
  explicit FloatWeights(const std::string& path)
      : model_(open_checkpoint(find_model("report", path))) {
    for (LinearLayer& layer : linear_layers(model_)) layers_.emplace(layer.name, layer);
  }
  const LinearLayer* find(const std::string& name) const {
    const auto found = layers_.find(name);
    return found == layers_.end() ? nullptr : &found->second;
  }
  Tensor get(const LinearLayer& layer) const { return float_weight(model_, layer); }
  const Checkpoint& model() const noexcept { return model_; }

 private:
  Checkpoint model_;
  std::map<std::string, LinearLayer> layers_;
};

}  // namespace octavo::cli
