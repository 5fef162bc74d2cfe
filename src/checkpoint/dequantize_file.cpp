// SPDX-License-Identifier: Apache-2.0
// dequantize_file: every quantised layer as the float matrix that it stands for.
#include <array>
#include <optional>
#include <string>

#include "checkpoint/declared.hpp"
#include "checkpoint/impl.hpp"
#include "checkpoint/json_text.hpp"
#include "checkpoint/layer_tensors.hpp"
#include "checkpoint/run.hpp"
#include "checkpoint/safetensors_dtype.hpp"
#include "checkpoint/sentence.hpp"

namespace octavo {
namespace {

using namespace checkpoint;

constexpr const char* kDequantize = "dequantize_file";

/// What config.json says that the model was before; bfloat16 where it says nothing.
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

/// A stack stays one tensor as it lies, each expert written into its part.
void add_stack(FilePlan& file, const Checkpoint& in, const StoredStack& stack, DType dtype) {
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
    made.make = [&in, &stack, expert, dtype](LayerReport&) {
      return std::vector<Tensor>{float_values(stored_expert(in.impl(), stack, expert), dtype)};
    };
  }
}

Plan plan_of(const Checkpoint& in, const LayerTensors& tensors, DType dtype) {
  Plan plan = plan_of_others(kDequantize, in, tensors, Stacks::stay);
  for (const StoredLayer& layer : tensors.alone()) {
    const TensorView codes = in.weight(layer.name).codes.data;
    FilePlan& file = plan.files[layer.codes->file];
    const std::size_t output = file.add({layer.name + ".weight",
                                         std::string(info(dtype).safetensors),
                                         {codes.shape[0], codes.shape[1]}});
    MadePlan& made = file.made.emplace_back();
    made.entry = layer.codes;
    made.bytes = layer.bytes;
    made.outputs = {output};
    made.make = [&in, name = layer.name, dtype](LayerReport&) {
      return std::vector<Tensor>{float_values(in.weight(name), dtype)};
    };
  }
  for (const StoredStack& stack : tensors.stacks()) {
    add_stack(plan.files[stack.codes->file], in, stack, dtype);
  }
  return plan;
}

}  // namespace

QuantizeReport dequantize_file(const std::string& in, const std::string& out,
                               const DequantizeFileOptions& options) {
  return at_edge(kDequantize, [&] {
    const Checkpoint opened = open_checkpoint(in);
    const DType dtype = options.dtype == DType::undefined ? model_dtype(opened) : options.dtype;
    if (!is_wide(dtype)) {
      refuse(Code::invalid_argument, "{}: dtype must be float32, bfloat16 or float16; got {}",
             kDequantize, name(dtype));
    }
    const LayerTensors tensors(opened);
    return carry_out(opened, out, plan_of(opened, tensors, dtype),
                     {options.threads, options.progress, options.at, options.temporary});
  });
}

}  // namespace octavo
