// SPDX-License-Identifier: Apache-2.0
// Writing quantisation configurations: a row per scheme.
#include "checkpoint/declared/config_text.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "checkpoint/text/sentence.hpp"

namespace octavo::checkpoint {
namespace {

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

#define OCTAVO_INT8_GROUP                                                                           \
  R"("weights":{"num_bits":8,"type":"int","strategy":"channel","symmetric":true,"dynamic":false},)" \
  R"("input_activations":{"num_bits":8,"type":"int","strategy":"token","symmetric":true,)"          \
  R"("dynamic":true},"output_activations":null)"

// int8-dynamic with packed experts: a group by name, which counts before the class behind it.
constexpr const char* kPackedExperts =
    R"({"quant_method":"compressed-tensors","format":"mixed-precision",)"
    R"("quantization_status":"compressed","config_groups":{)"
    R"("group_0":{"targets":["re:.*\\.experts\\..*"],)" OCTAVO_INT8_GROUP
    R"(,"format":"pack-quantized"},)"
    R"("group_1":{"targets":["Linear"],)" OCTAVO_INT8_GROUP R"(,"format":"int-quantized"}}})";
constexpr const char* kPackedAll =
    R"({"quant_method":"compressed-tensors","format":"pack-quantized",)"
    R"("quantization_status":"compressed","config_groups":{)"
    R"("group_0":{"targets":["re:.*\\.experts\\..*"],)" OCTAVO_INT8_GROUP
    R"(,"format":"pack-quantized"}}})";
#undef OCTAVO_INT8_GROUP

// What a configuration says of activations with a scale for each token, and with a static one.
constexpr std::string_view kTokens = R"("strategy":"token","symmetric":true,"dynamic":true)";
constexpr std::string_view kStaticTensor =
    R"("strategy":"tensor","symmetric":true,"dynamic":false)";

const SchemeConfig& row_of(const char* operation, Scheme scheme) {
  const auto row = std::ranges::find(kSchemeConfigs, scheme, &SchemeConfig::scheme);
  if (row != kSchemeConfigs.end()) return *row;
  refuse(Code::invalid_argument, "{}: scheme must be one of the four; got {}", operation,
         static_cast<int>(scheme));
}

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

std::string config_text(const char* operation, Scheme scheme,
                        const std::vector<std::string>& ignored, const OutlierConfig& outliers,
                        Packed packed, Activations activations) {
  const SchemeConfig& row = row_of(operation, scheme);
  std::string config(packed == Packed::none      ? row.json
                     : packed == Packed::experts ? kPackedExperts
                                                 : kPackedAll);
  if (activations == Activations::tensor) {
    for (std::size_t at = 0; (at = config.find(kTokens, at)) != std::string::npos;) {
      config.replace(at, kTokens.size(), kStaticTensor);
    }
  }
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

}  // namespace octavo::checkpoint
