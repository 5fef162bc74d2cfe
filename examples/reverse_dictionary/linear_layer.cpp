// SPDX-License-Identifier: Apache-2.0
// Hands weights and activations to octavo::pack and octavo::linear.
#include "linear_layer.hpp"

namespace reverse_dictionary {

LinearLayer::LinearLayer(const octavo::Checkpoint& checkpoint, std::string_view prefix)
    : bias_(checkpoint.tensor(std::string(prefix) + ".bias").to(octavo::float32)) {
  const octavo::Weight weight = checkpoint.weight(prefix);
  scheme_ = weight.scheme;
  weight_ = octavo::pack(weight);
}

void LinearLayer::apply(const float* x, std::int64_t rows, float* y) const {
  octavo::LinearOptions options;
  options.bias = bias_;
  options.out_dtype = octavo::float32;
  options.out = octavo::TensorView(y, octavo::float32, {rows, outputs()});
  octavo::linear(octavo::TensorView(x, octavo::float32, {rows, inputs()}), weight_, options);
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
