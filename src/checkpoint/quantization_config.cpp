// SPDX-License-Identifier: Apache-2.0
// Reading quantisation configurations: a row per method and per strategy.
#include "checkpoint/quantization_config.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <limits>

#include "checkpoint/sentence.hpp"

namespace octavo::checkpoint {
namespace {

using Json = JsonValue;

[[noreturn]] void reject(std::string_view property, std::string_view rule, const Json& got) {
  refuse(Code::corrupt_data, "Checkpoint::weight: '{}'.{} must {}; got {}", kConfigKey, property,
         rule, in_quotes(got.spelled()));
}

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

std::int64_t positive(const Json& value, std::string_view property) {
  constexpr std::int64_t kMost = std::int64_t{1} << 40;
  const std::int64_t number = value.integer();
  if (number < 1 || number > kMost) reject(property, "be a positive integer", value);
  return number;
}

ScaleGrid block_grid(const Json& value, std::string_view property) {
  std::array<std::int64_t, 2> sizes{};
  std::size_t count = 0;
  for (const Json size : value.items()) {
    if (count < sizes.size()) sizes[count] = positive(size, property);
    ++count;
  }
  if (!value.is_array() || count != sizes.size()) {
    reject(property, "be two positive integers", value);
  }
  return {sizes[0], sizes[1]};
}

// compressed-tensors' weight strategies.
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

std::optional<ActivationQuant> activation_rule(const Json& activations) {
  if (activations.is_null()) return std::nullopt;
  const std::string_view type = activations["type"].text();
  const Json bits = activations["num_bits"];
  if (bits.integer() != 8 || (type != "int" && type != "float")) {
    refuse(Code::unsupported,
           "Checkpoint::weight: '{}'.input_activations must be of 8 bits; got {} of type "
           "{}",
           kConfigKey, bits.is_integer() ? bits.spelled() : in_quotes(bits.spelled()),
           in_quotes(type));
  }
  const DType dtype = type == "int" ? DType::int8 : DType::float8_e4m3fn;
  const std::string_view strategy = activations["strategy"].text();
  ActivationQuant rule = per_token_rule(dtype);
  if (strategy == "tensor") rule.spec.granularity = per_tensor();
  if (strategy == "group") {
    rule = group_rule(dtype, positive(activations["group_size"], "input_activations.group_size"));
  }
  rule.spec.azp = dtype == DType::int8 && activations["symmetric"].is(false);
  return rule;
}

LayerConfig group_rule_of(const Json& group) {
  LayerConfig result;
  result.grid = weight_grid(group["weights"]);
  const Json activations = group["input_activations"];
  result.activation = activation_rule(activations);
  if (!activations.is_null()) result.static_activations = activations["dynamic"].is(false);
  return result;
}

// A target is a layer's name, "re:...", or the name of a class such as "Linear", which every layer
// of a weights file may be.
bool is_class_name(std::string_view target) noexcept {
  return !target.empty() && std::isupper(static_cast<unsigned char>(target[0])) != 0;
}

std::vector<std::int64_t> integers(const Json& list, std::string_view property) {
  if (!list.is_null() && !list.is_array()) reject(property, "be a list of integers", list);
  std::vector<std::int64_t> values;
  for (const Json item : list.items()) {
    if (!item.is_integer()) reject(property, "hold integers", item);
    values.push_back(item.integer());
  }
  return values;
}

}  // namespace

struct QuantizationConfig::Method {
  std::string_view name;
  void (QuantizationConfig::*read)(JsonValue config);
};

QuantizationConfig::QuantizationConfig(const std::string& text) {
  static constexpr std::array<Method, 3> kMethods{{
      {"compressed-tensors", &QuantizationConfig::read_compressed_tensors},
      {"fp8", &QuantizationConfig::read_fp8},
      {"bitsandbytes", &QuantizationConfig::read_bitsandbytes},
  }};
  const JsonTree tree = parse(text);
  const Json config = tree.root();
  const auto method = std::ranges::find(kMethods, config["quant_method"].text(), &Method::name);
  if (method != kMethods.end()) (this->*method->read)(config);
}

void QuantizationConfig::read_compressed_tensors(Json config) {
  std::vector<std::string> names;
  bool any = false;  // whether the last group takes every layer: none behind it is ever asked
  for (const Json group : config["config_groups"].items()) {
    if (any) break;
    const Json targets = group["targets"];
    any = !targets.is_array();
    for (const Json target : targets.items()) {
      if (!target.is_text()) reject("config_groups.targets", "hold strings", target);
      any = any || is_class_name(target.text());
      names.emplace_back(target.text());
      group_of_target_.push_back(groups_.size());
    }
    Group& read = groups_.emplace_back();
    try {
      read.rule = group_rule_of(group);
    } catch (const Error& error) {
      read.refusal = error.status();
    }
  }
  group_of_all_ = any ? groups_.size() - 1 : groups_.size();
  targets_.emplace("Checkpoint::weight", Code::corrupt_data, names);
}

void QuantizationConfig::read_fp8(Json config) {
  const std::string_view scheme = config["activation_scheme"].text();
  if (!scheme.empty()) common_.static_activations = scheme == "static";
  const Json block = config["weight_block_size"];
  if (!block.is_null()) common_.grid = block_grid(block, "weight_block_size");
}

void QuantizationConfig::read_bitsandbytes(Json config) {
  const Json whole = config[kWholeColumns];
  common_.whole_columns = whole.is(true);
  if (!whole.is_null() && !whole.is(true) && !whole.is(false)) {
    reject(kWholeColumns, "be true or false", whole);
  }
  const Json lists = config[kOutlierColumns];
  if (!lists.is_null() && !lists.is_object()) {
    reject(kOutlierColumns, "be an object with a list for each layer", lists);
  }
  for (const Json list : lists.items()) {
    outlier_columns_.emplace(
        list.key(), integers(list, fmt::format("{}[{}]", kOutlierColumns, in_quotes(list.key()))));
  }
  const Json threshold = config["llm_int8_threshold"];
  if (threshold.is_null()) return;
  const double value = threshold.is_number() ? threshold.number() : -1.0;
  const bool good = value >= 0.0 && value <= std::numeric_limits<float>::max();
  if (!good) reject("llm_int8_threshold", "be a float32 number not below 0", threshold);
  common_.outlier_threshold = static_cast<float>(value);
}

LayerConfig QuantizationConfig::layer(std::string_view name) const {
  std::size_t index = group_of_all_;
  if (const auto target = targets_ ? targets_->first(name) : std::nullopt) {
    index = std::min(index, group_of_target_[*target]);
  }
  if (index < groups_.size()) {
    throw_if_failed(groups_[index].refusal);
    return groups_[index].rule;
  }
  LayerConfig result = common_;
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

bool same_rule(const ActivationQuant& a, const ActivationQuant& b) noexcept {
  return a.spec.dtype == b.spec.dtype && a.spec.granularity == b.spec.granularity &&
         a.spec.azp == b.spec.azp && a.spec.rounding == b.spec.rounding &&
         a.spec.scale_ub == b.spec.scale_ub && a.spec.min_scale == b.spec.min_scale &&
         a.vectorwise == b.vectorwise && a.outlier_threshold == b.outlier_threshold &&
         a.whole_columns == b.whole_columns && (a.static_scale > 0.0F) == (b.static_scale > 0.0F);
}

}  // namespace octavo::checkpoint
