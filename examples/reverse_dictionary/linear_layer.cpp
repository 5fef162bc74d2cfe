// SPDX-License-Identifier: Apache-2.0
// Hands weights and activations to Octavo's layers.
#include "linear_layer.hpp"

#include <vector>

#include "errors.hpp"
#include "float32_product.hpp"

namespace reverse_dictionary {

LinearLayer::LinearLayer(const octavo::Checkpoint& checkpoint,
                         std::span<const std::string> prefixes)
    : layer_(octavo::load_linear(checkpoint, prefixes)) {
  if (!layer_.bias().defined()) throw BadInput("model: " + prefixes[0] + " must have a bias");
  const bool floats =
      layer_.weight().dtype() == octavo::float32 && layer_.bias().dtype() == octavo::float32;
  if (!floats || float32_library() == kOctavo) return;
  std::vector<octavo::Weight> weights;
  for (const std::string& prefix : prefixes) weights.push_back(checkpoint.weight(prefix));
  plain_ = octavo::fuse(weights).codes.data;
}

void LinearLayer::apply(const float* x, std::int64_t rows, float* y) const {
  if (plain_.defined()) {
    const std::span bias(layer_.bias().data_as<float>(), static_cast<std::size_t>(outputs()));
    if (float32_product(x, rows, inputs(), plain_.data_as<float>(), bias, y)) return;
  }
  const octavo::TensorView in(x, octavo::float32, {rows, inputs()});
  layer_(in, {.out = octavo::TensorView(y, octavo::float32, {rows, outputs()})});
}

std::int64_t weight_bytes(const octavo::Checkpoint& checkpoint, std::string_view prefix) {
  const std::string layer = std::string(prefix) + ".";
  std::int64_t bytes = 0;
  for (const octavo::TensorEntry& entry : checkpoint.entries()) {
    if (entry.name.starts_with(layer) && entry.name != layer + "bias") {
      bytes += entry.end - entry.begin;
    }
  }
  return bytes;
}

}  // namespace reverse_dictionary
