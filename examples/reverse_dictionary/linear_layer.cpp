// SPDX-License-Identifier: Apache-2.0
// Hands weights and activations to octavo::pack and octavo::linear.
#include "linear_layer.hpp"

#include <span>

#include "float32_product.hpp"

namespace reverse_dictionary {

LinearLayer::LinearLayer(const octavo::Checkpoint& checkpoint, std::string_view prefix)
    : bias_(checkpoint.tensor(std::string(prefix) + ".bias").to(octavo::float32)) {
  const octavo::Weight weight = checkpoint.weight(prefix);
  scheme_ = weight.scheme;
  if (weight.codes.data.dtype() == octavo::float32 && float32_library() != kOctavo) {
    plain_ = weight.codes.data;
  }
  weight_ = octavo::pack(weight);
}

void LinearLayer::apply(const float* x, std::int64_t rows, float* y) const {
  const std::span bias(bias_.data_as<float>(), static_cast<std::size_t>(outputs()));
  if (plain_.defined() && float32_product(x, rows, inputs(), plain_.data_as<float>(), bias, y)) {
    return;
  }
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
