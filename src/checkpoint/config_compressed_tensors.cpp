// SPDX-License-Identifier: Apache-2.0
// compressed-tensors' groups of layers: a row per strategy; and ModelOpt's algorithms, a row each.
#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <optional>
#include <utility>

#include "checkpoint/config_reader.hpp"

namespace octavo::checkpoint {
namespace {

using Json = JsonValue;

std::optional<ScaleGrid> weight_grid(const Json& weights) {
  const std::string_view strategy = weights["strategy"].text();
  if (strategy == "tensor") return ScaleGrid{};
  if (strategy == "channel") return ScaleGrid{1, kWholeExtent};
  if (strategy == "group") {
    return ScaleGrid{1, positive(weights["group_size"], "weights.group_size")};
  }
  if (strategy == "block") {
    return block_grid(weights["block_structure"], "weights.block_structure");
  }
  return std::nullopt;
}

// 8 bits, and whether they are integers.
std::optional<bool> integers(const Json& rule, std::string_view property) {
  const std::string_view type = rule["type"].text();
  const Json bits = rule["num_bits"];
  if (bits.integer() != 8 || (type != "int" && type != "float")) {
    refuse(Code::unsupported, "Checkpoint::weight: '{}'.{} must be of 8 bits; got {} of type {}",
           kConfigKey, property, bits.is_integer() ? bits.spelled() : in_quotes(bits.spelled()),
           in_quotes(type));
  }
  return type == "int";
}

std::optional<ActivationQuant> activation_rule(const Json& activations) {
  if (activations.is_null()) return std::nullopt;
  const bool is_int = *integers(activations, "input_activations");
  const DType dtype = is_int ? DType::int8 : DType::float8_e4m3fn;
  const std::string_view strategy = activations["strategy"].text();
  ActivationQuant rule = per_token_rule(dtype);
  if (strategy == "tensor") rule.spec.granularity = per_tensor();
  if (strategy == "group") {
    rule = group_rule(dtype, positive(activations["group_size"], "input_activations.group_size"));
  }
  // Scales stored as bytes are exponents.
  if (activations["scale_dtype"].text() == "torch.uint8") {
    rule.spec.rounding = ScaleRounding::mx_floor;
  }
  rule.spec.azp = is_int && activations["symmetric"].is(false);
  return rule;
}

LayerConfig group_rule_of(const Json& group) {
  LayerConfig result;
  const Json weights = group["weights"];
  result.grid = weight_grid(weights);
  if (!weights["num_bits"].is_null()) result.integers = integers(weights, "weights");
  if (weights["symmetric"].is(true)) result.symmetric = true;
  if (weights["symmetric"].is(false)) result.symmetric = false;
  const Json activations = group["input_activations"];
  result.activation = activation_rule(activations);
  if (!activations.is_null()) result.static_activations = activations["dynamic"].is(false);
  result.quantised_output = !group["output_activations"].is_null();
  return result;
}

// A target is a layer's name, "re:...", or the name of a class such as "Linear", which every layer
// of a weights file may be.
bool is_class_name(std::string_view target) noexcept {
  return !target.empty() && std::isupper(static_cast<unsigned char>(target[0])) != 0;
}

// What changes the meaning of weights beyond codes and scales.
void check_transforms(const Json& config) {
  const Json transforms = config["transform_config"]["config_groups"];
  if (transforms.items().begin() == transforms.items().end()) return;
  unsupported_config("transform_config", "be empty, since layers with rotations are not read",
                     transforms);
}

void check_sparsity(const Json& config) {
  const Json format = config["sparsity_config"]["format"];
  if (format.is_null() || format.text() == "dense") return;
  unsupported_config("sparsity_config.format", "be dense, since sparse weights are not read",
                     format);
}

}  // namespace

void ConfigReader::compressed_tensors(Json config) {
  try {
    check_transforms(config);
    check_sparsity(config);
  } catch (const Error& error) {
    config_.refusal_ = error.status();
    return;
  }
  std::vector<std::string> targets;
  bool any = false;  // whether the last group takes every layer: none behind it is ever asked
  for (const Json group : config["config_groups"].items()) {
    if (any) break;
    const Json list = group["targets"];
    any = !list.is_array();
    for (const Json target : list.items()) {
      if (!target.is_text()) reject_config("config_groups.targets", "hold strings", target);
      any = any || is_class_name(target.text());
      const bool exact = !is_class_name(target.text()) && !target.text().starts_with("re:");
      if (exact) config_.group_of_name_.emplace(target.text(), config_.groups_.size());
      targets.emplace_back(target.text());
      config_.group_of_target_.push_back(config_.groups_.size());
    }
    add_group(group_of([&] { return group_rule_of(group); }));
  }
  if (any) config_.group_of_all_ = config_.groups_.size() - 1;
  config_.targets_.emplace("Checkpoint::weight", Code::corrupt_data, targets);
  leave_alone(Spelling::patterns, config["ignore"], "ignore");
}

namespace {

LayerConfig fp8_tensor() {
  LayerConfig rule;
  rule.integers = false;
  rule.grid = ScaleGrid{};
  rule.activation = per_token_rule(DType::float8_e4m3fn);
  rule.static_activations = true;
  return rule;
}

LayerConfig fp8_rows() {
  LayerConfig rule = fp8_tensor();
  rule.grid = ScaleGrid{1, kWholeExtent};
  rule.static_activations = false;
  return rule;
}

LayerConfig fp8_blocks() {
  LayerConfig rule;
  rule.integers = false;
  rule.grid = ScaleGrid{kBlock, kBlock};
  rule.activation = std::optional<ActivationQuant>();
  return rule;
}

LayerConfig int8_rows() {
  LayerConfig rule;
  rule.integers = true;
  rule.grid = ScaleGrid{1, kWholeExtent};
  rule.activation = std::optional<ActivationQuant>();
  return rule;
}

LayerConfig int8_static() {
  LayerConfig rule = int8_rows();
  rule.activation = per_token_rule(DType::int8);
  rule.static_activations = true;
  return rule;
}

LayerConfig mx_groups() {
  LayerConfig rule;
  rule.integers = false;
  rule.grid = ScaleGrid{1, kMxGroup};
  rule.activation = mx_rule(DType::float8_e4m3fn);
  return rule;
}

struct Algorithm {
  std::string_view name;
  LayerConfig (*rule)();
};
constexpr std::array<Algorithm, 8> kAlgorithms{{
    {"fp8", fp8_tensor},
    {"fp8_per_channel_per_token", fp8_rows},
    {"fp8_pc_pt", fp8_rows},
    {"fp8_pb_wo", fp8_blocks},
    {"fp8_pb_real", fp8_blocks},
    {"w8a16", int8_rows},
    {"w8a8_sq_per_channel", int8_static},
    {"mxfp8", mx_groups},
}};

LayerConfig algorithm_rule(const Json& name) {
  std::string lower(name.text());  // exporters differ in case
  std::ranges::transform(lower, lower.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const auto row = std::ranges::find(kAlgorithms, lower, &Algorithm::name);
  if (row == kAlgorithms.end()) {
    unsupported_config("quant_algo", "be one with codes of 8 bits that Octavo reads", name);
  }
  return row->rule();
}

}  // namespace

// config.json, or hf_quant_config.json with all of it one level down.
void ConfigReader::modelopt(Json config) {
  const Json inner = config["quantization"];
  const Json body = inner.is_object() ? inner : config;
  const char* const list = body["ignore"].is_array() ? "ignore" : "exclude_modules";
  leave_alone(Spelling::wildcards, body[list], list);
  const Json algorithm = body["quant_algo"];
  const Json layers = body["quantized_layers"];
  if (layers.is_object()) {  // MIXED_PRECISION
    std::map<std::string_view, std::size_t> groups;
    for (const Json layer : layers.items()) {
      const Json own = layer["quant_algo"];
      auto group = groups.find(own.text());
      if (group == groups.end()) {
        group = groups.emplace(own.text(), add_group(group_of([&] { return algorithm_rule(own); })))
                    .first;
      }
      config_.group_of_name_.emplace(layer.key(), group->second);
    }
    return;
  }
  if (!algorithm.is_null()) {
    config_.group_of_all_ = add_group(group_of([&] { return algorithm_rule(algorithm); }));
  }
}

}  // namespace octavo::checkpoint
