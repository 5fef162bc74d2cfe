// SPDX-License-Identifier: Apache-2.0
// Reading and writing quantisation configurations: a row per strategy and per scheme.
#include "checkpoint/quantization_config.hpp"

#include <array>
#include <cctype>
#include <limits>
#include <nlohmann/json.hpp>

#include "checkpoint/layer_filter.hpp"
#include "checkpoint/sentence.hpp"

namespace octavo::checkpoint {
namespace {

using Json = nlohmann::json;

[[noreturn]] void reject(std::string_view property, std::string_view rule, const Json& got) {
  const std::string text = got.dump(-1, ' ', false, Json::error_handler_t::replace);
  refuse(Code::corrupt_data, "Checkpoint::weight: metadata '{}'.{} must {}; got {}", kConfigKey,
         property, rule, in_quotes(text));
}

Json parse(const std::string& text) {
  static constexpr int kDeepest = 32;
  const auto limit_depth = [](int depth, Json::parse_event_t, Json&) {
    if (depth > kDeepest) {
      refuse(Code::corrupt_data, "Checkpoint::weight: metadata '{}' must nest at most {} levels",
             kConfigKey, kDeepest);
    }
    return true;
  };
  try {
    Json config = Json::parse(text, limit_depth);
    if (config.is_object()) return config;
  } catch (const Json::exception&) {
  }
  refuse(Code::corrupt_data, "Checkpoint::weight: metadata '{}' must be a JSON object; got {}",
         kConfigKey, in_quotes(text));
}

/// The field, or null where there is none.
const Json& field(const Json& object, const char* key) {
  static const Json kNull;
  const auto found = object.is_object() ? object.find(key) : object.end();
  return found == object.end() ? kNull : *found;
}

std::string text_field(const Json& object, const char* key) {
  const Json& value = field(object, key);
  return value.is_string() ? value.get<std::string>() : std::string();
}

std::int64_t positive(const Json& value, std::string_view property) {
  constexpr std::int64_t kMost = std::int64_t{1} << 40;
  if (!value.is_number_integer() || value.get<std::int64_t>() < 1 ||
      value.get<std::int64_t>() > kMost) {
    reject(property, "be a positive integer", value);
  }
  return value.get<std::int64_t>();
}

ScaleGrid block_grid(const Json& value, std::string_view property) {
  if (!value.is_array() || value.size() != 2) reject(property, "be two positive integers", value);
  return {positive(value[0], property), positive(value[1], property)};
}

// compressed-tensors' weight strategies.
std::optional<ScaleGrid> weight_grid(const Json& weights) {
  const std::string strategy = text_field(weights, "strategy");
  if (strategy == "tensor") return ScaleGrid{};
  if (strategy == "channel") return ScaleGrid{1, kWholeExtent};
  if (strategy == "group") {
    return ScaleGrid{1, positive(field(weights, "group_size"), "weights.group_size")};
  }
  if (strategy == "block") {
    return block_grid(field(weights, "block_structure"), "weights.block_structure");
  }
  return std::nullopt;
}

// Static activation scales are not carried: codes are made per call, from a scale at least as fine.
std::optional<ActivationQuant> activation_rule(const Json& activations) {
  if (activations.is_null()) return std::nullopt;
  const std::string type = text_field(activations, "type");
  const Json& bits = field(activations, "num_bits");
  if (bits != 8 || (type != "int" && type != "float")) {
    refuse(Code::unsupported,
           "Checkpoint::weight: metadata '{}'.input_activations must be of 8 bits; got {} of type "
           "{}",
           kConfigKey, bits.dump(), in_quotes(type));
  }
  const DType dtype = type == "int" ? DType::int8 : DType::float8_e4m3fn;
  const std::string strategy = text_field(activations, "strategy");
  ActivationQuant rule = per_token_rule(dtype);
  if (strategy == "tensor") rule.spec.granularity = per_tensor();
  if (strategy == "group") {
    rule = group_rule(dtype,
                      positive(field(activations, "group_size"), "input_activations.group_size"));
  }
  rule.spec.azp = dtype == DType::int8 && field(activations, "symmetric") == false;
  return rule;
}

// A target is a layer's name, "re:...", or the name of a class such as "Linear", which every layer
// of a weights file may be.
bool targets_layer(const Json& group, std::string_view layer) {
  const Json& targets = field(group, "targets");
  if (!targets.is_array()) return true;
  for (const Json& target : targets) {
    if (!target.is_string()) reject("config_groups.targets", "hold strings", targets);
    const auto name = target.get<std::string>();
    const bool class_name = !name.empty() && std::isupper(static_cast<unsigned char>(name[0])) != 0;
    if (class_name || NamePatterns("Checkpoint::weight", {name}).match(layer)) return true;
  }
  return false;
}

LayerConfig compressed_tensors(const Json& config, std::string_view layer) {
  LayerConfig result;
  for (const Json& group : field(config, "config_groups")) {
    if (!targets_layer(group, layer)) continue;
    result.grid = weight_grid(field(group, "weights"));
    result.activation = activation_rule(field(group, "input_activations"));
    break;
  }
  return result;
}

LayerConfig fp8(const Json& config, std::string_view) {
  LayerConfig result;
  const Json& block = field(config, "weight_block_size");
  if (!block.is_null()) result.grid = block_grid(block, "weight_block_size");
  return result;
}

LayerConfig bitsandbytes(const Json& config, std::string_view) {
  LayerConfig result;
  const Json& threshold = field(config, "llm_int8_threshold");
  if (threshold.is_null()) return result;
  const double value = threshold.is_number() ? threshold.get<double>() : -1.0;
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

// The configuration that a scheme writes, but for the list of layers left alone.
struct SchemeConfig {
  Scheme scheme;
  const char* ignore_field;
  const char* json;
};
constexpr std::array<SchemeConfig, 4> kSchemeConfigs{{
    {Scheme::int8_dynamic, "ignore",
     R"({"quant_method":"compressed-tensors","format":"int-quantized",
         "quantization_status":"compressed","config_groups":{"group_0":{"targets":["Linear"],
         "weights":{"num_bits":8,"type":"int","strategy":"channel","symmetric":true,
                    "dynamic":false},
         "input_activations":{"num_bits":8,"type":"int","strategy":"token","symmetric":true,
                              "dynamic":true},
         "output_activations":null}}})"},
    {Scheme::fp8_dynamic, "ignore",
     R"({"quant_method":"compressed-tensors","format":"float-quantized",
         "quantization_status":"compressed","config_groups":{"group_0":{"targets":["Linear"],
         "weights":{"num_bits":8,"type":"float","strategy":"channel","symmetric":true,
                    "dynamic":false},
         "input_activations":{"num_bits":8,"type":"float","strategy":"token","symmetric":true,
                              "dynamic":true},
         "output_activations":null}}})"},
    {Scheme::fp8_block, "modules_to_not_convert",
     R"({"quant_method":"fp8","activation_scheme":"dynamic","weight_block_size":[128,128]})"},
    {Scheme::llm_int8, "llm_int8_skip_modules",
     R"({"quant_method":"bitsandbytes","load_in_8bit":true,"_load_in_8bit":true,
         "load_in_4bit":false,"_load_in_4bit":false,"llm_int8_threshold":6.0,
         "llm_int8_has_fp16_weight":false,"llm_int8_enable_fp32_cpu_offload":false})"},
}};

}  // namespace

ActivationQuant per_token_rule(DType dtype, float outlier_threshold) {
  ActivationQuant rule;
  rule.spec.dtype = dtype;
  rule.spec.granularity = per_token();
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
  const Json config = parse(text->second);
  const std::string method = text_field(config, "quant_method");
  for (const Method& row : kMethods) {
    if (row.name == method) return row.read(config, layer);
  }
  return {};
}

std::string config_text(Scheme scheme, const std::vector<std::string>& ignored) {
  for (const SchemeConfig& row : kSchemeConfigs) {
    if (row.scheme != scheme) continue;
    auto config = nlohmann::ordered_json::parse(row.json);
    config[row.ignore_field] = ignored;
    return config.dump();
  }
  refuse(Code::invalid_argument, "quantize_file: scheme must be one of the four; got {}",
         static_cast<int>(scheme));
}

}  // namespace octavo::checkpoint
