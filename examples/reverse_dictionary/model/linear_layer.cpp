// SPDX-License-Identifier: Apache-2.0
// Hands weights and activations to Octavo's layers.
#include "linear_layer.hpp"

#include <algorithm>
#include <vector>

#include "errors.hpp"
#include "float32_product.hpp"
#include "octavo/checkpoint/sharding.hpp"

namespace reverse_dictionary {

namespace {

// Of the rank's rows of each layer, one after the other.
octavo::Tensor bias_part(const octavo::Checkpoint& checkpoint,
                         std::span<const std::string> prefixes, const octavo::Communicator& ranks) {
  std::vector<float> values;
  for (const std::string& prefix : prefixes) {
    const octavo::ShardRange range = octavo::shard_range(
        checkpoint, prefix, octavo::ShardAxis::columns, ranks.rank(), ranks.size());
    const octavo::Tensor part =
        octavo::shard_bias(checkpoint.tensor(prefix + ".bias").to(octavo::float32), range);
    values.insert(values.end(), part.data_as<float>(), part.data_as<float>() + part.numel());
  }
  octavo::Tensor all =
      octavo::Tensor::empty(octavo::float32, {static_cast<std::int64_t>(values.size())});
  std::copy(values.begin(), values.end(), all.data_as<float>());
  return all;
}

}  // namespace

LinearLayer::LinearLayer(const octavo::Checkpoint& checkpoint,
                         std::span<const std::string> prefixes, octavo::ShardAxis axis,
                         const Ranks& ranks) {
  if (ranks != nullptr) {
    const octavo::Weight part =
        octavo::read_shard(checkpoint, prefixes, axis, ranks->rank(), ranks->size());
    by_rows_ = axis == octavo::ShardAxis::rows;
    if (by_rows_) {
      row_ =
          octavo::RowParallelLinear::of_part(part, checkpoint.tensor(prefixes[0] + ".bias"), ranks);
    } else {
      layer_ = octavo::QuantizedLinear(part, bias_part(checkpoint, prefixes, *ranks));
    }
    return;
  }
  layer_ = octavo::load_linear(checkpoint, prefixes);
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
  const octavo::LinearOptions out{.out = octavo::TensorView(y, octavo::float32, {rows, outputs()})};
  by_rows_ ? row_(in, out) : layer_(in, out);
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
