// SPDX-License-Identifier: Apache-2.0
// Which method a configuration is of, and those that fit on a page.
#include "checkpoint/declared/config_reader.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <utility>

#include "checkpoint/declared/kv_cache.hpp"

namespace octavo::checkpoint {
namespace {

using Json = JsonValue;

struct Method {
  std::string_view name;
  void (ConfigReader::*read)(Json config);
};
constexpr std::array<Method, 12> kMethods{{
    {"compressed-tensors", &ConfigReader::compressed_tensors},
    {"fp8", &ConfigReader::fp8},
    {"fbgemm_fp8", &ConfigReader::fbgemm_fp8},
    {"bitsandbytes", &ConfigReader::bitsandbytes},
    {"gptq", &ConfigReader::gptq},
    {"modelopt", &ConfigReader::modelopt},
    {"torchao", &ConfigReader::torchao},
    {"quanto", &ConfigReader::quanto},
    {"mxfp8", &ConfigReader::mxfp8},
    {"quark", &ConfigReader::quark},
    {"auto-round", &ConfigReader::auto_round},
    {"intel/auto-round", &ConfigReader::auto_round},
}};

/// Methods that are known and not read.
struct NotRead {
  std::string_view name;
  std::string_view reason;
};
constexpr std::array<NotRead, 14> kNotRead{{
    {"awq", "its codes have 4 bits"},
    {"aqlm", "its codes are indices into codebooks"},
    {"bitnet", "its codes have 2 bits"},
    {"eetq", "its codes are in the order of one GPU kernel"},
    {"fp_quant", "its codes have 4 bits"},
    {"gguf", "its blocks belong to GGUF files"},
    {"higgs", "its codes are indices into grids"},
    {"hqq", "its codes are packed by layer with float zero points"},
    {"mxfp4", "its codes have 4 bits"},
    {"nvfp4", "its codes have 4 bits"},
    {"sinq", "it has scales of rows and columns at once"},
    {"spqr", "it is sparse with codes of few bits"},
    {"vptq", "its codes are indices into codebooks"},
    {"exl3", "its codes are a trellis"},
}};

/// A configuration that does not name its method, by what it holds.
std::string_view unnamed_method(const Json& root) {
  if (root["quantization"].is_object()) return "modelopt";  // hf_quant_config.json
  if (root["w_bit"].is_number()) return "awq";              // AutoAWQ's quant_config.json
  if (root["bits"].is_number() && !root["desc_act"].is_null()) return "gptq";
  return {};
}

/// quanto_qmap.json: an object for each layer, and nothing else.
bool is_quanto_map(const Json& root) {
  bool any = false;
  for (const Json layer : root.items()) {
    if (!layer.is_object() || !layer["weights"].is_text()) return false;
    any = true;
  }
  return any;
}

std::vector<std::int64_t> integer_list(const Json& list, std::string_view property) {
  if (!list.is_null() && !list.is_array()) reject_config(property, "be a list of integers", list);
  std::vector<std::int64_t> values;
  for (const Json item : list.items()) {
    if (!item.is_integer()) reject_config(property, "hold integers", item);
    values.push_back(item.integer());
  }
  return values;
}

}  // namespace

void reject_config(std::string_view property, std::string_view rule, const Json& got) {
  refuse(Code::corrupt_data, "Checkpoint::weight: '{}'.{} must {}; got {}", kConfigKey, property,
         rule, in_quotes(got.spelled()));
}

void unsupported_config(std::string_view property, std::string_view rule, const Json& got) {
  refuse(Code::unsupported, "Checkpoint::weight: '{}'.{} must {}; got {}", kConfigKey, property,
         rule, in_quotes(got.spelled()));
}

std::int64_t positive(const Json& value, std::string_view property) {
  constexpr std::int64_t kMost = std::int64_t{1} << 40;
  const std::int64_t number = value.integer();
  if (number < 1 || number > kMost) reject_config(property, "be a positive integer", value);
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
    reject_config(property, "be two positive integers", value);
  }
  return {sizes[0], sizes[1]};
}

std::vector<std::string> names(const Json& list, std::string_view property) {
  std::vector<std::string> all;
  if (!list.is_null() && !list.is_array()) reject_config(property, "be a list of names", list);
  for (const Json item : list.items()) {
    if (!item.is_text()) reject_config(property, "hold strings", item);
    all.emplace_back(item.text());
  }
  return all;
}

void ConfigReader::read(Json root) {
  const Json body = body_of(root);
  config_.kv_cache_scheme_ = checkpoint::kv_cache_scheme(body);
  if (config_.kv_cache_scheme_.empty()) {
    config_.kv_cache_algorithm_ = body["kv_cache_quant_algo"].text();
  }
  std::string_view name = root["quant_method"].text();
  if (name.empty()) name = unnamed_method(root);
  if (name.empty()) {
    if (is_quanto_map(root)) quanto_map(root);
    if (root["layers"].is_object()) comfy(root);  // metadata "_quantization_metadata"
    return;
  }
  const auto method = std::ranges::find(kMethods, name, &Method::name);
  if (method != kMethods.end()) return (this->*method->read)(root);
  const auto known = std::ranges::find(kNotRead, name, &NotRead::name);
  config_.refusal_ = fail(
      Code::unsupported,
      "Checkpoint::weight: '{}'.quant_method must be one that Octavo reads; got {}{}", kConfigKey,
      in_quotes(name), known == kNotRead.end() ? "" : fmt::format(": {}", known->reason));
}

std::size_t ConfigReader::add_group(Group group) {
  if (config_.groups_.size() == QuantizationConfig::kMostGroups) {
    refuse(Code::corrupt_data,
           "Checkpoint::weight: '{}' must have at most {} groups of layers; got more", kConfigKey,
           QuantizationConfig::kMostGroups);
  }
  config_.groups_.push_back(std::move(group));
  config_.group_of_all_ = config_.group_of_tables_ = config_.groups_.size();
  return config_.groups_.size() - 1;
}

void ConfigReader::leave_alone(Spelling spelling, Json list, std::string_view property) {
  config_.left_alone_.emplace(spelling, names(list, property));
}

// vLLM and AutoFP8 with one scale; transformers and DeepSeek with blocks.
void ConfigReader::fp8(Json config) {
  LayerConfig& common = config_.common_;
  common.integers = false;
  const std::string_view scheme = config["activation_scheme"].text();
  if (!scheme.empty()) common.static_activations = scheme == "static";
  const Json block = config["weight_block_size"];
  if (!block.is_null()) {
    common.grid = block_grid(block, "weight_block_size");
    if (config["scale_fmt"].text() == "ue8m0") {
      ActivationQuant rule = group_rule(DType::float8_e4m3fn, common.grid->cols);
      rule.spec.rounding = ScaleRounding::power_of_two;
      common.activation = rule;
    }
  }
  leave_alone_lists(config);
}

void ConfigReader::leave_alone_lists(Json config) {
  constexpr std::array<const char*, 2> kLists{"ignored_layers", "modules_to_not_convert"};
  for (const char* property : kLists) {
    if (config[property].is_array()) leave_alone(Spelling::modules, config[property], property);
  }
}

// Rows, and tokens whose absolute maximum has an upper bound.
void ConfigReader::fbgemm_fp8(Json config) {
  LayerConfig& common = config_.common_;
  common.integers = false;
  common.grid = ScaleGrid{1, kWholeExtent};
  ActivationQuant rule = per_token_rule(DType::float8_e4m3fn);
  const Json bound = config["activation_scale_ub"];
  if (bound.is_number()) {
    rule.spec.scale_ub = static_cast<float>(bound.number());
    if (!(rule.spec.scale_ub > 0.0F)) {
      reject_config("activation_scale_ub", "be a float32 number above 0", bound);
    }
  }
  common.activation = rule;
  leave_alone(Spelling::modules, config["modules_to_not_convert"], "modules_to_not_convert");
}

void ConfigReader::bitsandbytes(Json config) {
  LayerConfig& common = config_.common_;
  const Json whole = config[kWholeColumns];
  common.whole_columns = whole.is(true);
  if (!whole.is_null() && !whole.is(true) && !whole.is(false)) {
    reject_config(kWholeColumns, "be true or false", whole);
  }
  const Json lists = config[kOutlierColumns];
  if (!lists.is_null() && !lists.is_object()) {
    reject_config(kOutlierColumns, "be an object with a list for each layer", lists);
  }
  for (const Json list : lists.items()) {
    config_.outlier_columns_.emplace(
        list.key(),
        integer_list(list, fmt::format("{}[{}]", kOutlierColumns, in_quotes(list.key()))));
  }
  leave_alone(Spelling::modules, config["llm_int8_skip_modules"], "llm_int8_skip_modules");
  const Json threshold = config["llm_int8_threshold"];
  if (threshold.is_null()) return;
  const double value = threshold.is_number() ? threshold.number() : -1.0;
  const bool good = value >= 0.0 && value <= std::numeric_limits<float>::max();
  if (!good) reject_config("llm_int8_threshold", "be a float32 number not below 0", threshold);
  common.outlier_threshold = static_cast<float>(value);
}

// Codes e4m3fn, a byte of an exponent for each 32 columns, activations by the same rule.
void ConfigReader::mxfp8(Json config) {
  LayerConfig& common = config_.common_;
  common.integers = false;
  common.grid = ScaleGrid{1, kMxGroup};
  common.activation = mx_rule(DType::float8_e4m3fn);
  const Json block = config["weight_block_size"];
  if (!block.is_null() && block_grid(block, "weight_block_size") != *common.grid) {
    reject_config("weight_block_size", "be [1, 32] of mxfp8", block);
  }
  leave_alone_lists(config);
}

// The layers' own descriptions are in the files' metadata.
void ConfigReader::torchao(Json config) {
  leave_alone(Spelling::modules, config["modules_to_not_convert"], "modules_to_not_convert");
}

namespace {

struct QuantoType {
  std::string_view name;
  DType dtype;
};
constexpr std::array<QuantoType, 9> kQuantoTypes{{
    {"qint8", DType::int8},
    {"int8", DType::int8},
    {"qfloat8_e4m3fn", DType::float8_e4m3fn},
    {"qfloat8", DType::float8_e4m3fn},
    {"float8", DType::float8_e4m3fn},
    {"qfloat8_e5m2", DType::float8_e5m2},
    {"qfloat8_e4m3fnuz", DType::float8_e4m3fnuz},
    {"float8_e4m3fn", DType::float8_e4m3fn},
    {"float8_e5m2", DType::float8_e5m2},
}};

DType quanto_type(const Json& name, std::string_view property) {
  const auto type = std::ranges::find(kQuantoTypes, name.text(), &QuantoType::name);
  if (type == kQuantoTypes.end()) unsupported_config(property, "be a type of 8 bits", name);
  return type->dtype;
}

LayerConfig quanto_rule(const Json& layer) {
  LayerConfig rule;
  rule.codes = quanto_type(layer["weights"], "weights");
  const Json activations = layer["activations"];
  if (activations.is_null() || activations.text() == "none") {
    rule.activation = std::optional<ActivationQuant>();
  } else {
    rule.activation = per_token_rule(quanto_type(activations, "activations"));
    rule.static_activations = true;
  }
  return rule;
}

}  // namespace

void ConfigReader::quanto(Json config) {
  config_.common_ = quanto_rule(config);
  leave_alone(Spelling::modules, config["modules_to_not_convert"], "modules_to_not_convert");
}

// quanto_qmap.json lists each layer; most are alike.
void ConfigReader::quanto_map(Json map) {
  std::map<std::pair<std::string_view, std::string_view>, std::size_t> groups;
  for (const Json layer : map.items()) {
    const std::pair types(layer["weights"].text(), layer["activations"].text());
    auto group = groups.find(types);
    if (group == groups.end()) {
      group = groups.emplace(types, add_group(group_of([&] { return quanto_rule(layer); }))).first;
    }
    config_.group_of_name_.emplace(layer.key(), group->second);
  }
}

}  // namespace octavo::checkpoint
