// SPDX-License-Identifier: Apache-2.0
// AMD Quark: a rule for all layers, rules for patterns of names, and layers that are left alone.
#include <string>
#include <vector>

#include "checkpoint/declared/config_reader.hpp"

namespace octavo::checkpoint {
namespace {

using Json = JsonValue;

constexpr const char* kProperty = "global_quant_config";

/// Whether codes are integers; both have 8 bits.
bool is_integer(const Json& tensor) {
  const Json dtype = tensor["dtype"];
  if (dtype.text() == "int8") return true;
  if (dtype.text() != "fp8_e4m3") {
    unsupported_config(kProperty, "have dtype fp8_e4m3 or int8", dtype);
  }
  return false;
}

ScaleGrid quark_grid(const Json& weight) {
  const Json scheme = weight["qscheme"];
  const Json axis = weight["ch_axis"];
  if (scheme.text() == "per_tensor") return {};
  if (scheme.text() == "per_channel" && axis.is_integer() && axis.integer() == 0) {
    return {1, kWholeExtent};
  }
  if (scheme.text() == "per_group") return {1, positive(weight["group_size"], "group_size")};
  unsupported_config(kProperty,
                     "have weights with a scale per_tensor, per_channel of axis 0 or "
                     "per_group",
                     scheme);
}

/// Tokens are what a dynamic rule calls channels.
ActivationQuant input_rule(const Json& inputs) {
  ActivationQuant rule = per_token_rule(is_integer(inputs) ? DType::int8 : DType::float8_e4m3fn);
  const Json scheme = inputs["qscheme"];
  if (scheme.text() == "per_tensor") {
    rule.spec.granularity = per_tensor();
  } else if (scheme.text() == "per_group") {
    rule = group_rule(rule.spec.dtype, positive(inputs["group_size"], "group_size"));
  } else if (scheme.text() != "per_channel") {
    unsupported_config(kProperty, "have inputs with a scale per_tensor, per_channel or per_group",
                       scheme);
  }
  rule.spec.azp = rule.spec.dtype == DType::int8 && inputs["symmetric"].is(false);
  return rule;
}

LayerConfig quark_rule(const Json& layer) {
  LayerConfig rule;
  const Json weight = layer["weight"];
  if (weight.is_object()) {
    rule.integers = is_integer(weight);
    rule.grid = quark_grid(weight);
    if (weight["symmetric"].is(true)) rule.symmetric = true;
    if (weight["symmetric"].is(false)) rule.symmetric = !*rule.integers;
  } else if (!weight.is_null()) {
    unsupported_config(kProperty, "have one rule for weights", weight);
  }
  const Json inputs = layer["input_tensors"];
  rule.activation = std::optional<ActivationQuant>();
  if (inputs.is_object()) {
    rule.activation = input_rule(inputs);
    rule.static_activations = inputs["is_dynamic"].is(false);
  } else if (!inputs.is_null()) {
    unsupported_config(kProperty, "have one rule for inputs", inputs);
  }
  rule.quantized_output = !layer["output_tensors"].is_null();
  return rule;
}

}  // namespace

void ConfigReader::quark(Json config) {
  const Json classes = config["layer_type_quant_config"];
  if (classes.items().begin() != classes.items().end()) {
    refuse_all([&] {
      unsupported_config("layer_type_quant_config",
                         "be empty, since files do not say which layers "
                         "are of a class",
                         classes);
    });
    return;
  }
  std::vector<std::string> patterns;
  for (const Json layer : config["layer_quant_config"].items()) {
    patterns.push_back(wildcard_pattern(layer.key()));
    config_.group_of_target_.push_back(add_group(group_of([&] { return quark_rule(layer); })));
  }
  config_.targets_.emplace("Checkpoint::weight", Code::corrupt_data, patterns);
  if (const Json all = config[kProperty]; all.is_object()) {
    config_.group_of_all_ = add_group(group_of([&] { return quark_rule(all); }));
    config_.group_of_tables_ = config_.group_of_all_;
  } else {
    config_.group_of_all_ = config_.group_of_tables_ = config_.groups_.size();
  }
  leave_alone(Spelling::wildcards, config["exclude"], "exclude");
}

}  // namespace octavo::checkpoint
