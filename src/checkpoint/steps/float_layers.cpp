// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/steps/float_layers.hpp"

#include <array>
#include <string>
#include <utility>

#include "checkpoint/declared/declared.hpp"
#include "checkpoint/dialects/dialect.hpp"
#include "checkpoint/open/open_checkpoint.hpp"
#include "checkpoint/safetensors/dtype.hpp"
#include "checkpoint/text/json_text.hpp"

namespace octavo::checkpoint {

DType model_dtype(const Checkpoint& in) {
  struct Name {
    std::string_view json;
    DType dtype;
  };
  constexpr std::array<Name, 3> kNames{{{"\"float32\"", DType::float32},
                                        {"\"float16\"", DType::float16},
                                        {"\"bfloat16\"", DType::bfloat16}}};
  const std::string config = in.impl().text(kConfigFile).value_or("{}");
  for (const std::string_view key : {"dtype", "torch_dtype"}) {
    const auto said = json_field(config, key);
    for (const Name& name : kNames) {
      if (said == name.json) return name.dtype;
    }
  }
  return DType::bfloat16;
}

bool is_convolution(const Checkpoint& in, const StoredLayer& layer) {
  // The largest tensor is the codes, but for a scale of few of them.
  if (!is_wide(dtype_of_name(layer.codes->dtype))) return layer.codes->shape.size() > 2;
  CodesInPlace place;
  (void)read_weight(in, layer.name, &place, Extents::any);
  return place.entry != nullptr && place.entry->shape.size() > 2;
}

void add_float_layer(FilePlan& file, const Checkpoint& in, const StoredLayer& layer, DType dtype) {
  CodesInPlace place;
  const TensorView codes = read_weight(in, layer.name, &place, Extents::any).codes.data;
  const bool transposed = in.impl().model().is_conv1d(layer.name);
  std::vector<std::int64_t> shape{codes.shape[0], codes.shape[1]};
  if (transposed) std::swap(shape[0], shape[1]);
  if (place.entry != nullptr && place.entry->shape.size() > 2) shape = place.entry->shape;
  MadePlan made{.entry = layer.codes, .begin = layer.begin, .bytes = layer.bytes};
  made.outputs = {
      file.add({layer.name + ".weight", std::string(info(dtype).safetensors), std::move(shape)})};
  made.make = [&in, name = layer.name, dtype, transposed](LayerReport&) {
    const Tensor values = float_values(read_weight(in, name, nullptr, Extents::any), dtype);
    return std::vector<Tensor>{transposed ? copy(values.view().transposed(), dtype) : values};
  };
  file.made.push_back(std::move(made));
}

void add_float_tensor(FilePlan& file, const Checkpoint& in, const TensorEntry& entry, DType dtype) {
  MadePlan& made = file.made.emplace_back();
  made.entry = &entry;
  made.bytes = entry.end - entry.begin;
  made.outputs = {file.add({entry.name, std::string(info(dtype).safetensors), entry.shape})};
  made.make = [&in, &entry, dtype](LayerReport&) {
    return std::vector<Tensor>{copy(in.tensor(entry.name), dtype)};
  };
}

void add_float_stack(FilePlan& file, const Checkpoint& in, const StoredStack& stack, DType dtype) {
  const TensorEntry& codes = *stack.codes;
  const std::size_t output =
      file.add({codes.name, std::string(info(dtype).safetensors), codes.shape});
  const std::int64_t elements = codes.shape[1] * codes.shape[2];
  for (std::int64_t expert = 0; expert < codes.shape[0]; ++expert) {
    MadePlan& made = file.made.emplace_back();
    made.entry = &codes;
    made.begin = expert * elements;
    made.bytes = elements;
    made.outputs = {output};
    made.output_begin = expert * elements * element_bytes(dtype);
    made.make = [&in, stack, expert, dtype](LayerReport&) {
      return std::vector<Tensor>{float_values(stored_expert(in.impl(), stack, expert), dtype)};
    };
  }
}

}  // namespace octavo::checkpoint
