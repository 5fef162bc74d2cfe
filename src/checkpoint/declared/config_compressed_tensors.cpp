// SPDX-License-Identifier: Apache-2.0
// compressed-tensors' groups of layers: which counts, and what it says.
#include <algorithm>
#include <array>
#include <cctype>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/declared/config_reader.hpp"

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
  if (activations["scale_dtype"].text() == "torch.uint8") rule.spec.rounding = kMxRounding;
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
  result.quantized_output = !group["output_activations"].is_null();
  return result;
}

/// A class of linear layers that files do not tell from the others. torch.nn.Linear has the names
/// "Linear" and "Module".
bool is_other_linear_class(std::string_view target) noexcept {
  return target != "Linear" && target.ends_with("Linear") &&
         std::isupper(static_cast<unsigned char>(target[0])) != 0 &&
         target.find_first_of(".:") == std::string_view::npos;
}

[[noreturn]] LayerConfig other_class(std::string_view target) {
  refuse(Code::unsupported,
         "Checkpoint::weight: '{}'.config_groups.targets must be names, expressions, Linear, "
         "Embedding or Module; got {}, and no file says which layers are of that class",
         kConfigKey, in_quotes(target));
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
  // In the order of letters, in which the first expression or class that fits counts; of a target
  // in two groups the last (compressed-tensors' match_targets).
  std::map<std::string, std::size_t, std::less<>> by_target;
  for (const Json group : config["config_groups"].items()) {
    const bool preset = group.is_array();
    const Json list = preset ? group : group["targets"];
    const std::size_t index = add_group(
        group_of([&] { return preset ? preset_rule(group.key()) : group_rule_of(group); }));
    config_.groups_[index].name = group.key();
    if (!list.is_array()) by_target.insert_or_assign("Linear", index);
    for (const Json target : list.items()) {
      if (!target.is_text()) reject_config("config_groups.targets", "hold strings", target);
      by_target.insert_or_assign(std::string(target.text()), index);
    }
  }
  std::vector<std::string> expressions;
  for (const auto& [target, group] : by_target) {
    if (target.starts_with("re:")) {
      expressions.push_back(target);
      config_.group_of_target_.push_back(group);
    } else {
      config_.group_of_name_.emplace(target, group);
    }
  }
  std::optional<std::size_t> linear, table;
  for (const auto& [target, group] : by_target) {
    const bool any = target == "Module";
    if (!table && (any || target == "Embedding")) table = group;
    if (linear) continue;
    if (any || target == "Linear") linear = group;
    if (is_other_linear_class(target)) {
      linear = add_group(group_of([&name = target] { return other_class(name); }));
    }
  }
  config_.group_of_all_ = linear.value_or(config_.groups_.size());
  config_.group_of_tables_ = table.value_or(config_.groups_.size());
  config_.targets_.emplace("Checkpoint::weight", Code::corrupt_data, expressions);
  leave_alone(Spelling::patterns, config["ignore"], "ignore");
}

}  // namespace octavo::checkpoint
