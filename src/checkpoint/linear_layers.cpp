// SPDX-License-Identifier: Apache-2.0
#include "octavo/linear_layers.hpp"

#include "checkpoint/experts_layout.hpp"
#include "checkpoint/layer_filter.hpp"
#include "checkpoint/layer_tensors.hpp"
#include "core/error.hpp"

namespace octavo {

std::vector<LinearLayer> linear_layers(const Checkpoint& model) {
  using namespace checkpoint;
  return at_edge("linear_layers", [&] {
    const NamePatterns ignored("linear_layers", Code::invalid_argument, {});
    const LayerTensors stored(model);
    std::vector<LinearLayer> layers;
    for (const TensorEntry& entry : model.entries()) {
      if (stored.is_part(entry)) continue;
      const Treatment treated = treatment(entry, ignored);
      if (treated == Treatment::quantise) {
        layers.push_back({.name = std::string(*layer_of(entry.name)),
                          .tensor = entry.name,
                          .n = entry.shape[0],
                          .k = entry.shape[1]});
      } else if (treated == Treatment::copy) {
        for (const ExpertRows& rows : expert_layers(model, entry)) {
          layers.push_back({rows.layer, entry.name, rows.first_row, rows.rows, entry.shape[2]});
        }
      }
    }
    return layers;
  });
}

}  // namespace octavo
