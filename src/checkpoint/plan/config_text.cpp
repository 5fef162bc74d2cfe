// SPDX-License-Identifier: Apache-2.0
// Writing quantisation configurations.
#include "checkpoint/plan/config_text.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "checkpoint/models/loadable.hpp"
#include "checkpoint/steps/recipe.hpp"
#include "checkpoint/text/sentence.hpp"

namespace octavo::checkpoint {
namespace {

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

/// What compressed-tensors says of a scheme's codes.
struct Compressed {
  Scheme scheme;
  DType dtype;
  const char* weights;      ///< strategies, with their sizes
  const char* activations;  ///< null: they stay as they are
  const char* format;
  const char* more = "";  ///< fields of both
};
constexpr const char* kChannel = R"("strategy":"channel")";
constexpr const char* kToken = R"("strategy":"token")";
constexpr const char* kMxStrategy = R"("strategy":"group","group_size":32)";
constexpr DType kInt8 = DType::int8, kFp8 = DType::float8_e4m3fn;
constexpr std::array<Compressed, 5> kCompressed{{
    {Scheme::int8_dynamic, kInt8, kChannel, kToken, "int-quantized"},
    {Scheme::fp8_dynamic, kFp8, kChannel, kToken, "float-quantized"},
    {Scheme::int8_weight_only, kInt8, kChannel, nullptr, "int-quantized"},
    {Scheme::fp8_weight_only, kFp8, kChannel, nullptr, "float-quantized"},
    {Scheme::mxfp8, kFp8, kMxStrategy, kMxStrategy, "mxfp8-quantized",
     R"(,"scale_dtype":"torch.uint8")"},
}};

std::string inputs_text(const Compressed& row, Activations activations) {
  if (row.activations == nullptr) return "null";
  const bool is_static = activations == Activations::tensor;
  return arguments_text(row.dtype, is_static ? R"("strategy":"tensor")" : row.activations, true,
                        !is_static, row.more);
}

// Packed experts are a group by name, which counts before the class behind it.
// `heads`: further targets, each behind a comma.
std::string compressed_text(const Compressed& row, std::string_view ignored, Packed packed,
                            Activations activations, std::string_view heads) {
  const std::string weights = arguments_text(row.dtype, row.weights, true, false, row.more);
  const std::string inputs = inputs_text(row, activations);
  std::vector<ConfigGroup> groups;
  if (recipe_of("config_text", row.scheme).packs_all()) {
    groups.push_back(config_group(fmt::format(R"(["Linear",{}{}])", kAllExperts, heads), weights,
                                  inputs, "pack-quantized"));
    return compressed_tensors_text(groups, ignored);
  }
  if (packed != Packed::none) {
    groups.push_back(
        config_group(fmt::format("[{}]", kAllExperts), weights, inputs, "pack-quantized"));
  }
  if (packed != Packed::all) {
    groups.push_back(config_group(fmt::format(R"(["Linear"{}])", heads), weights, inputs,
                                  row.format, packed != Packed::none));
  }
  return compressed_tensors_text(groups, ignored);
}

}  // namespace

std::string arguments_text(DType dtype, std::string_view strategy, bool symmetric, bool dynamic,
                           std::string_view more) {
  return fmt::format(R"({{"num_bits":8,"type":"{}",{},"symmetric":{},"dynamic":{}{}}})",
                     is_float8(dtype) ? "float" : "int", strategy, symmetric, dynamic, more);
}

ConfigGroup config_group(std::string_view targets, std::string_view weights,
                         std::string_view activations, std::string_view format, bool says_format) {
  return {fmt::format(
              R"({{"targets":{},"weights":{},"input_activations":{},"output_activations":null{}}})",
              targets, weights, activations,
              says_format ? fmt::format(R"(,"format":"{}")", format) : ""),
          std::string(format)};
}

std::string compressed_tensors_text(const std::vector<ConfigGroup>& groups,
                                    std::string_view ignored, const std::string& kv_cache) {
  const bool mixed = std::ranges::adjacent_find(groups, std::ranges::not_equal_to(),
                                                &ConfigGroup::format) != groups.end();
  std::string list;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    list += fmt::format(R"({}"group_{}":{})", i == 0 ? "" : ",", i, groups[i].text);
  }
  return fmt::format(
      R"({{"quant_method":"compressed-tensors","format":"{}","quantization_status":"compressed",)"
      R"("config_groups":{{{}}},"ignore":{}{}}})",
      mixed || groups.empty() ? "mixed-precision" : groups.front().format, list, ignored,
      kv_cache.empty() ? "" : R"(,"kv_cache_scheme":)" + kv_cache);
}

std::string fp8_text(bool is_static, bool block, std::string_view ignored) {
  return fmt::format(R"({{"quant_method":"fp8","activation_scheme":"{}"{},"{}":{}}})",
                     is_static ? "static" : "dynamic",
                     block ? R"(,"weight_block_size":[128,128])" : "",
                     block ? "modules_to_not_convert" : "ignored_layers", ignored);
}

std::string bitsandbytes_text(const char* operation, std::string_view ignored,
                              const OutlierConfig& outliers) {
  return fmt::format(R"({{"quant_method":"bitsandbytes","load_in_8bit":true,"_load_in_8bit":true,)"
                     R"("load_in_4bit":false,"_load_in_4bit":false,)"
                     R"("llm_int8_has_fp16_weight":false,)"
                     R"("llm_int8_enable_fp32_cpu_offload":false,"llm_int8_skip_modules":{}{}}})",
                     ignored, outlier_fields(operation, outliers));
}

bool names_heads(Scheme scheme) noexcept {
  return std::ranges::find(kCompressed, scheme, &Compressed::scheme) != kCompressed.end();
}

std::string config_text(const char* operation, Scheme scheme,
                        const std::vector<std::string>& ignored, const OutlierConfig& outliers,
                        Packed packed, Activations activations,
                        const std::vector<std::string>& heads) {
  const std::string names = json_strings(operation, ignored);
  const auto* row = std::ranges::find(kCompressed, scheme, &Compressed::scheme);
  if (row != kCompressed.end()) {
    std::string targets;
    for (const std::string& head : heads) targets += ',' + json_string(operation, head);
    return compressed_text(*row, names, packed, activations, targets);
  }
  if (scheme == Scheme::fp8_block) return fp8_text(false, true, names);
  if (scheme == Scheme::llm_int8) return bitsandbytes_text(operation, names, outliers);
  refuse(Code::invalid_argument, "{}: scheme must be one of the {}; got {}", operation,
         kAllSchemes.size(), static_cast<int>(scheme));
}

std::string comfyui_text(std::int32_t rotation) {
  if (rotation == 0) return R"({"format": "int8_tensorwise"})";
  return fmt::format(R"({{"format": "int8_tensorwise", "convrot": true, "convrot_groupsize": {}}})",
                     rotation);
}

}  // namespace octavo::checkpoint
