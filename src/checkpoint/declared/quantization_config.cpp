// SPDX-License-Identifier: Apache-2.0
// Declarations as rules of layers.
#include "checkpoint/declared/quantization_config.hpp"

#include <algorithm>
#include <utility>

#include "checkpoint/declared/config_reader.hpp"
#include "checkpoint/text/sentence.hpp"

namespace octavo::checkpoint {
namespace {

// What a text must do, by what is wrong with it.
std::string rule_broken(JsonTree::Problem problem) {
  constexpr JsonTree::Limits kMost = QuantizationConfig::kLimits;
  switch (problem) {
    case JsonTree::Problem::too_long:
      return fmt::format("have at most {} bytes", kMost.bytes);
    case JsonTree::Problem::too_deep:
      return fmt::format("nest at most {} levels", kMost.levels);
    case JsonTree::Problem::too_many:
      return fmt::format("hold at most {} values", kMost.values);
    case JsonTree::Problem::long_key:
      return fmt::format("have keys of at most {} bytes", kMost.key_bytes);
    case JsonTree::Problem::twin_keys:
      return "have each key of an object once";
    case JsonTree::Problem::none:
    case JsonTree::Problem::malformed:
      break;
  }
  return "be a JSON object";
}

JsonTree parse(const std::string& text) {
  JsonTree config;
  const JsonTree::Problem problem = config.parse(text, QuantizationConfig::kLimits);
  if (problem == JsonTree::Problem::none && config.root().is_object()) return config;
  refuse(Code::corrupt_data, "Checkpoint::weight: '{}' must {}; got {} bytes, {}", kConfigKey,
         rule_broken(problem), text.size(), in_quotes(text));
}

}  // namespace

JsonValue body_of(const JsonValue& root) {
  const JsonValue inner = root["quantization"];
  return inner.is_object() ? inner : root;
}

QuantizationConfig::QuantizationConfig(const std::string& text) {
  const JsonTree tree = parse(text);
  ConfigReader(*this).read(tree.root());
}

void QuantizationConfig::check_method() const { throw_if_failed(refusal_); }

std::size_t QuantizationConfig::group_of(std::string_view name, bool table) const {
  std::size_t index = table ? group_of_tables_ : group_of_all_;
  const auto own = group_of_name_.find(name);
  if (own != group_of_name_.end()) {
    index = own->second;
  } else if (const auto target = targets_ ? targets_->first(name) : std::nullopt) {
    index = group_of_target_[*target];
  }
  return index;
}

std::string QuantizationConfig::group_name(std::string_view layer) const {
  const std::size_t index = group_of(layer, false);
  return index < groups_.size() ? groups_[index].name : "";
}

LayerConfig QuantizationConfig::layer(std::string_view name, bool table) const {
  check_method();
  const std::size_t index = group_of(name, table);
  const auto own = group_of_name_.find(name);
  const bool left = left_alone_ && left_alone_->contains(name);
  LayerConfig result = common_;
  if (index < groups_.size() && !left) {
    throw_if_failed(groups_[index].refusal);
    result = groups_[index].rule;
  }
  if (own != group_of_name_.end()) result.listed = Listed::quantized;
  if (left) result.listed = Listed::left_alone;
  const auto columns = outlier_columns_.find(name);
  if (columns != outlier_columns_.end()) result.outlier_columns = columns->second;
  return result;
}

ActivationQuant per_token_rule(DType dtype) {
  ActivationQuant rule;
  rule.spec.dtype = dtype;
  rule.spec.granularity = per_token();
  return rule;
}

ActivationQuant llm_int8_rule(float outlier_threshold) {
  ActivationQuant rule = per_token_rule(DType::int8);
  rule.vectorwise = true;
  rule.outlier_threshold = outlier_threshold;
  return rule;
}

ActivationQuant group_rule(DType dtype, std::int64_t length) {
  ActivationQuant rule = per_token_rule(dtype);
  rule.spec.granularity = group(length);
  return rule;
}

ActivationQuant mx_rule(DType dtype) {
  ActivationQuant rule = group_rule(dtype, kMxGroup);
  rule.spec.rounding = kMxRounding;
  return rule;
}

}  // namespace octavo::checkpoint
