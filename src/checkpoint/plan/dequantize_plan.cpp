// SPDX-License-Identifier: Apache-2.0
// dequantize_file: every quantised layer as the float matrix that it stands for.
#include "checkpoint/layers/float_layers.hpp"
#include "checkpoint/layers/foreign_layers.hpp"
#include "checkpoint/layers/layer_tensors.hpp"
#include "checkpoint/open/missing_parts.hpp"
#include "checkpoint/open/plain_fp8.hpp"
#include "checkpoint/write/run.hpp"
#include "checkpoint/safetensors/dtype.hpp"
#include "checkpoint/text/sentence.hpp"

namespace octavo {
namespace {

using namespace checkpoint;

constexpr const char* kDequantize = "dequantize_file";

Plan plan_of(const Checkpoint& in, LayerTensors& tensors, DType dtype) {
  const std::vector<ForeignLayer> foreign = take_foreign(kDequantize, in, tensors);
  const auto is_value = [&](const TensorEntry& entry) { return is_plain_fp8(in.impl(), entry); };
  Plan plan = plan_of_others(kDequantize, in, tensors, {}, is_value);
  for (const TensorEntry& entry : in.entries()) {  // a bias, a norm of a model cast to fp8
    if (is_value(entry) && !tensors.is_part(entry)) {
      add_float_tensor(plan.files[entry.file], in, entry, dtype);
    }
  }
  if (!foreign.empty()) {
    std::vector<std::string> floats;
    for (const StoredLayer& layer : tensors.layers()) floats.push_back(layer.name);
    const std::string rest = declared_without(in, floats);
    if (!rest.empty()) plan.config = rest;
    plan.warnings.push_back(left_as_stored(kDequantize, foreign, !rest.empty()));
  }
  for (const StoredLayer& layer : tensors.alone()) {
    add_float_layer(plan.files[layer.codes->file], in, layer, dtype);
  }
  for (const StoredStack& stack : tensors.stacks()) {
    add_float_stack(plan.files[stack.codes->file], in, stack, dtype);
  }
  return plan;
}

}  // namespace

QuantizeReport dequantize_file(const std::string& in, const std::string& out,
                               const DequantizeFileOptions& options) {
  return at_edge(kDequantize, [&] {
    const Checkpoint opened = open_whole(kDequantize, in, options.layout);
    const DType dtype = options.dtype == DType::undefined ? model_dtype(opened) : options.dtype;
    if (!is_wide(dtype)) {
      refuse(Code::invalid_argument, "{}: dtype must be float32, bfloat16 or float16; got {}",
             kDequantize, name(dtype));
    }
    LayerTensors tensors(opened);
    return carry_out(opened, out, plan_of(opened, tensors, dtype),
                     {options.threads, options.progress, options.at, options.temporary});
  });
}

}  // namespace octavo
