// SPDX-License-Identifier: Apache-2.0
// Reading and writing quantisation configurations: a row per strategy and per scheme.
#include "checkpoint/quantization_config.hpp"

#include <fmt/ranges.h>

#include <array>
#include <cctype>
#include <limits>

#include "checkpoint/json_tree.hpp"
#include "checkpoint/layer_filter.hpp"
#include "checkpoint/sentence.hpp"

namespace octavo::checkpoint {
namespace {

using Json = JsonValue;

// Octavo's own fields beside bitsandbytes' "llm_int8_threshold".
constexpr const char* kWholeColumns = "llm_int8_whole_columns";
constexpr const char* kOutlierColumns = "llm_int8_outlier_columns";

[[noreturn]] void reject(std::string_view property, std::string_view rule, const Json& got) {
  refuse(Code::corrupt_data, "Checkpoint::weight: metadata '{}'.{} must {}; got {}", kConfigKey,
         property, rule, in_quotes(got.spelled()));
}

JsonTree parse(const std::string& text) {
  static constexpr int kDeepest = 32;
  JsonTree config;
  const JsonTree::Problem problem = config.parse(text, kDeepest);
  if (problem == JsonTree::Problem::too_deep) {
    refuse(Code::corrupt_data, "Checkpoint::weight: metadata '{}' must nest at most {} levels",
           kConfigKey, kDeepest);
  }
  if (problem == JsonTree::Problem::none && config.root().is_object()) return config;
  refuse(Code::corrupt_data, "Checkpoint::weight: metadata '{}' must be a JSON object; got {}",
         kConfigKey, in_quotes(text));
}

std::int64_t positive(const Json& value, std::string_view property) {
  constexpr std::int64_t kMost = std::int64_t{1} << 40;
  const std::int64_t number = value.integer();
  if (number < 1 || number > kMost) reject(property, "be a positive integer", value);
  return number;
}

ScaleGrid block_grid(const Json& value, std::string_view property) {
  const std::vector<Json> sizes = value.items();
  if (!value.is_array() || sizes.size() != 2) {
    reject(property, "be two positive integers", value);
  }
  return {positive(sizes[0], property), positive(sizes[1], property)};
}

// compressed-tensors' weight strategies.
std::optional<ScaleGrid> weight_grid(const Json& weights) {
  const std::string strategy = weights["strategy"].text();
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
  const std::string type = activations["type"].text();
  const Json bits = activations["num_bits"];
  if (bits.integer() != 8 || (type != "int" && type != "float")) {
    refuse(Code::unsupported,
           "Checkpoint::weight: metadata '{}'.input_activations must be of 8 bits; got {} of type "
           "{}",
           kConfigKey, bits.is_integer() ? bits.spelled() : in_quotes(bits.spelled()),
           in_quotes(type));
  }
  const DType dtype = type == "int" ? DType::int8 : DType::float8_e4m3fn;
  const std::string strategy = activations["strategy"].text();
  ActivationQuant rule = per_token_rule(dtype);
  if (strategy == "tensor") rule.spec.granularity = per_tensor();
  if (strategy == "group") {
    rule = group_rule(dtype, positive(activations["group_size"], "input_activations.group_size"));
  }
  rule.spec.azp = dtype == DType::int8 && activations["symmetric"].is(false);
  return rule;
}

// A target is a layer's name, "re:...", or the name of a class such as "Linear", which every layer
// of a weights file may be.
bool targets_layer(const Json& group, std::string_view layer) {
  const Json targets = group["targets"];
  if (!targets.is_array()) return true;
  for (const Json& target : targets.items()) {
    if (!target.is_text()) reject("config_groups.targets", "hold strings", target);
    const std::string name = target.text();
    const bool class_name = !name.empty() && std::isupper(static_cast<unsigned char>(name[0])) != 0;
    if (class_name || NamePatterns("Checkpoint::weight", {name}).match(layer)) return true;
  }
  return false;
}

LayerConfig compressed_tensors(const Json& config, std::string_view layer) {
  LayerConfig result;
  for (const Json& group : config["config_groups"].items()) {
    if (!targets_layer(group, layer)) continue;
    result.grid = weight_grid(group["weights"]);
    const Json activations = group["input_activations"];
    result.activation = activation_rule(activations);
    if (!activations.is_null()) result.static_activations = activations["dynamic"].is(false);
    break;
  }
  return result;
}

LayerConfig fp8(const Json& config, std::string_view) {
  LayerConfig result;
  const std::string scheme = config["activation_scheme"].text();
  if (!scheme.empty()) result.static_activations = scheme == "static";
  const Json block = config["weight_block_size"];
  if (!block.is_null()) result.grid = block_grid(block, "weight_block_size");
  return result;
}

std::vector<std::int64_t> integers(const Json& list, std::string_view property) {
  if (!list.is_null() && !list.is_array()) reject(property, "be a list of integers", list);
  std::vector<std::int64_t> values;
  for (const Json& item : list.items()) {
    if (!item.is_integer()) reject(property, "hold integers", item);
    values.push_back(item.integer());
  }
  return values;
}

LayerConfig bitsandbytes(const Json& config, std::string_view layer) {
  LayerConfig result;
  const Json whole = config[kWholeColumns];
  result.whole_columns = whole.is(true);
  if (!whole.is_null() && !whole.is(true) && !whole.is(false)) {
    reject(kWholeColumns, "be true or false", whole);
  }
  const Json lists = config[kOutlierColumns];
  if (!lists.is_null() && !lists.is_object()) {
    reject(kOutlierColumns, "be an object with a list for each layer", lists);
  }
  result.outlier_columns =
      integers(lists[layer], fmt::format("{}[{}]", kOutlierColumns, in_quotes(layer)));
  const Json threshold = config["llm_int8_threshold"];
  if (threshold.is_null()) return result;
  const double value = threshold.is_number() ? threshold.number() : -1.0;
  const bool good = value >= 0.0 && value <= std::numeric_limits<float>::max();
  if (!good) reject("llm_int8_threshold", "be a float32 number not below 0", threshold);
  result.outlier_threshold = static_cast<float>(value);
  return result;
}

struct Method {
  std::string_view name;
  LayerConfig (*read)(const Json& config, std::string_view layer);
};
constexpr std::array<Method, 3> kMethods{{
    {"compressed-tensors", compressed_tensors},
    {"fp8", fp8},
    {"bitsandbytes", bitsandbytes},
}};

// The configuration that a scheme writes, but for the list of layers left alone and LLM.int8()'s
// outliers.
struct SchemeConfig {
  Scheme scheme;
  const char* ignore_field;
  const char* json;
};
constexpr std::array<SchemeConfig, 4> kSchemeConfigs{{
    {Scheme::int8_dynamic, "ignore",
     R"({"quant_method":"compressed-tensors","format":"int-quantized",)"
     R"("quantization_status":"compressed","config_groups":{"group_0":{"targets":["Linear"],)"
     R"("weights":{"num_bits":8,"type":"int","strategy":"channel","symmetric":true,)"
     R"("dynamic":false},)"
     R"("input_activations":{"num_bits":8,"type":"int","strategy":"token","symmetric":true,)"
     R"("dynamic":true},"output_activations":null}}})"},
    {Scheme::fp8_dynamic, "ignore",
     R"({"quant_method":"compressed-tensors","format":"float-quantized",)"
     R"("quantization_status":"compressed","config_groups":{"group_0":{"targets":["Linear"],)"
     R"("weights":{"num_bits":8,"type":"float","strategy":"channel","symmetric":true,)"
     R"("dynamic":false},)"
     R"("input_activations":{"num_bits":8,"type":"float","strategy":"token","symmetric":true,)"
     R"("dynamic":true},"output_activations":null}}})"},
    {Scheme::fp8_block, "modules_to_not_convert",
     R"({"quant_method":"fp8","activation_scheme":"dynamic","weight_block_size":[128,128]})"},
    {Scheme::llm_int8, "llm_int8_skip_modules",
     R"({"quant_method":"bitsandbytes","load_in_8bit":true,"_load_in_8bit":true,)"
     R"("load_in_4bit":false,"_load_in_4bit":false,)"
     R"("llm_int8_has_fp16_weight":false,"llm_int8_enable_fp32_cpu_offload":false})"},
}};

// The threshold is a float with a fraction, as transformers' configuration demands.
std::string outlier_fields(const char* operation, const OutlierConfig& outliers) {
  std::string fields = ",\"llm_int8_threshold\":" + json_number(outliers.threshold);
  if (outliers.whole_columns) fields += fmt::format(",\"{}\":true", kWholeColumns);
  if (outliers.columns.empty()) return fields;
  fields += fmt::format(",\"{}\":{{", kOutlierColumns);
  for (const auto& [layer, columns] : outliers.columns) {
    fields += fmt::format("{}:[{}],", json_string(operation, layer), fmt::join(columns, ","));
  }
  fields.back() = '}';
  return fields;
}

}  // namespace

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

LayerConfig layer_config(const Checkpoint& file, std::string_view layer) {
  const auto text = file.metadata().find(kConfigKey);
  if (text == file.metadata().end()) return {};
  const JsonTree tree = parse(text->second);
  const Json config = tree.root();
  const std::string method = config["quant_method"].text();
  for (const Method& row : kMethods) {
    if (row.name == method) return row.read(config, layer);
  }
  return {};
}

bool same_rule(const ActivationQuant& a, const ActivationQuant& b) noexcept {
  return a.spec.dtype == b.spec.dtype && a.spec.granularity == b.spec.granularity &&
         a.spec.azp == b.spec.azp && a.spec.rounding == b.spec.rounding &&
         a.spec.scale_ub == b.spec.scale_ub && a.spec.min_scale == b.spec.min_scale &&
         a.vectorwise == b.vectorwise && a.outlier_threshold == b.outlier_threshold &&
         a.whole_columns == b.whole_columns && (a.static_scale > 0.0F) == (b.static_scale > 0.0F);
}

std::string config_text(const char* operation, Scheme scheme,
                        const std::vector<std::string>& ignored, const OutlierConfig& outliers) {
  for (const SchemeConfig& row : kSchemeConfigs) {
    if (row.scheme != scheme) continue;
    std::string config(row.json);
    config.pop_back();  // the object's end
    config += fmt::format(",\"{}\":[", row.ignore_field);
    for (const std::string& layer : ignored) {
      config += json_string(operation, layer);
      config += ',';
    }
    if (!ignored.empty()) config.pop_back();
    config += ']';
    if (scheme == Scheme::llm_int8) config += outlier_fields(operation, outliers);
    return config + '}';
  }
  refuse(Code::invalid_argument, "{}: scheme must be one of the four; got {}", operation,
         static_cast<int>(scheme));
}

}  // namespace octavo::checkpoint
