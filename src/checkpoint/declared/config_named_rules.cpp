// SPDX-License-Identifier: Apache-2.0
// Rules that go by a name: compressed-tensors' presets and ModelOpt's algorithms, a row each.
#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "checkpoint/declared/config_reader.hpp"

namespace octavo::checkpoint {
namespace {

using Json = JsonValue;

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

LayerConfig mx_weights() {
  LayerConfig rule = mx_groups();
  rule.activation = std::optional<ActivationQuant>();
  return rule;
}

LayerConfig int8_dynamic() {
  LayerConfig rule = int8_rows();
  rule.activation = per_token_rule(DType::int8);
  return rule;
}

LayerConfig fp8_block_groups() {
  LayerConfig rule = fp8_blocks();
  rule.activation = group_rule(DType::float8_e4m3fn, kBlock);
  return rule;
}

struct Named {
  std::string_view name;  ///< exporters differ in case
  LayerConfig (*rule)();
};
constexpr std::array<Named, 8> kPresets{{
    {"w8a8", int8_dynamic},
    {"int8", int8_dynamic},
    {"w8a16", int8_rows},
    {"fp8", fp8_tensor},
    {"fp8_dynamic", fp8_rows},
    {"fp8_block", fp8_block_groups},
    {"mxfp8", mx_groups},
    {"mxfp8a16", mx_weights},
}};
constexpr std::array<Named, 8> kAlgorithms{{
    {"fp8", fp8_tensor},
    {"fp8_per_channel_per_token", fp8_rows},
    {"fp8_pc_pt", fp8_rows},
    {"fp8_pb_wo", fp8_blocks},
    {"fp8_pb_real", fp8_blocks},
    {"w8a16", int8_rows},
    {"w8a8_sq_per_channel", int8_static},
    {"mxfp8", mx_groups},
}};

/// Nothing: no row has that name.
std::optional<LayerConfig> rule_named(std::string_view name, std::span<const Named> rows) {
  std::string lower(name);
  std::ranges::transform(lower, lower.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const auto row = std::ranges::find(rows, lower, &Named::name);
  if (row == rows.end()) return std::nullopt;
  return row->rule();
}

LayerConfig algorithm_rule(const Json& name) {
  if (auto rule = rule_named(name.text(), kAlgorithms)) return *std::move(rule);
  unsupported_config("quant_algo", "be one with codes of 8 bits that Octavo reads", name);
}

}  // namespace

LayerConfig preset_rule(std::string_view name) {
  auto rule = rule_named(name, kPresets);
  if (!rule) {
    refuse(Code::unsupported,
           "Checkpoint::weight: '{}'.config_groups must have rules, or a preset with codes of 8 "
           "bits that Octavo reads; got preset {}",
           kConfigKey, in_quotes(name));
  }
  rule->symmetric = true;
  return *std::move(rule);
}

// config.json, or hf_quant_config.json with all of it one level down.
void ConfigReader::modelopt(Json config) {
  const Json body = body_of(config);
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
    config_.group_of_tables_ = config_.group_of_all_;
  }
}

}  // namespace octavo::checkpoint
