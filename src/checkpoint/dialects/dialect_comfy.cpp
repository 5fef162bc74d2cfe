// SPDX-License-Identifier: Apache-2.0
// ComfyUI: what a layer is, is said beside it or in the file's metadata.
#include <algorithm>
#include <array>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/declared/config_reader.hpp"
#include "checkpoint/dialects/dialect.hpp"
#include "checkpoint/text/json_tree.hpp"
#include "checkpoint/text/sentence.hpp"

namespace octavo::checkpoint {
namespace {

using Json = JsonValue;

LayerConfig floats(DType codes) {
  LayerConfig rule;
  rule.codes = codes;
  rule.grid = ScaleGrid{};
  rule.activation = per_token_rule(DType::float8_e4m3fn);
  rule.activations_by_scale = true;
  return rule;
}

LayerConfig fp8_e4m3(const Json& /*format*/) { return floats(DType::float8_e4m3fn); }
LayerConfig fp8_e5m2(const Json& /*format*/) { return floats(DType::float8_e5m2); }

// One scale, or one for each row; activations by rows.
LayerConfig int8_scales(const Json& /*format*/) {
  LayerConfig rule;
  rule.codes = DType::int8;
  rule.activation = per_token_rule(DType::int8);
  return rule;
}

LayerConfig int8_blocks(const Json& format) {
  LayerConfig rule = int8_scales(format);
  const Json size = format["group_size"];
  const std::int64_t length = size.is_null() ? kBlock : size.integer();
  if (length < 1) {
    refuse(Code::corrupt_data,
           "Checkpoint::weight: ComfyUI's group_size must be a positive integer; got {}",
           in_quotes(size.spelled()));
  }
  rule.grid = ScaleGrid{length, length};
  return rule;
}

// "convrot": rows of codes are rotated in groups along K, as activations are before their scale is
// found, by octavo::rotate's matrix.
void add_rotation(const Json& format, LayerConfig& rule) {
  constexpr std::array<std::int64_t, 3> kGroups{16, 64, 256};
  const Json size = format["convrot_groupsize"];
  if (format["format"].text() != "int8_tensorwise" ||
      format["full_precision_matrix_mult"].is(true)) {
    refuse(
        Code::unsupported,
        "Checkpoint::weight: ComfyUI's convrot must come with int8_tensorwise, whose activations "
        "are quantised; got {}",
        in_quotes(format["format"].spelled()));
  }
  if (size.is_null() || std::ranges::find(kGroups, size.integer()) == kGroups.end()) {
    refuse(Code::unsupported,
           "Checkpoint::weight: ComfyUI's convrot_groupsize must be 16, 64 or 256; got {}",
           in_quotes(size.spelled()));
  }
  (*rule.activation)->rotation = static_cast<std::int32_t>(size.integer());
}

struct Format {
  std::string_view name;
  LayerConfig (*rule)(const Json& format);
};
constexpr std::array<Format, 4> kFormats{{
    {"float8_e4m3fn", fp8_e4m3},
    {"float8_e5m2", fp8_e5m2},
    {"int8_tensorwise", int8_scales},
    {"int8_blockwise", int8_blocks},
}};

}  // namespace

LayerConfig comfy_rule(const Json& format) {
  const Json name = format["format"];
  const auto row = std::ranges::find(kFormats, name.text(), &Format::name);
  if (row == kFormats.end()) {
    refuse(Code::unsupported,
           "Checkpoint::weight: ComfyUI's format must be float8_e4m3fn, float8_e5m2, "
           "int8_tensorwise or int8_blockwise; got {}",
           in_quotes(name.spelled()));
  }
  LayerConfig rule = row->rule(format);
  if (format["convrot"].is(true)) add_rotation(format, rule);
  if (format["full_precision_matrix_mult"].is(true)) {  // whatever scale activations have
    rule.activation = std::optional<ActivationQuant>();
    rule.activations_by_scale = false;
  }
  rule.listed = Listed::quantized;
  return rule;
}

// "layers" of metadata "_quantization_metadata"; most are alike.
void ConfigReader::comfy(Json config) {
  std::map<std::string, std::size_t> groups;
  for (const Json layer : config["layers"].items()) {
    std::string said;
    for (const Json field : layer.items()) {
      said += fmt::format("{}={};", field.key(), field.spelled());
    }
    auto group = groups.find(said);
    if (group == groups.end()) {
      group = groups.emplace(said, add_group(group_of([&] { return comfy_rule(layer); }))).first;
    }
    config_.group_of_name_.emplace(layer.key(), group->second);
  }
}

std::optional<LayerConfig> comfy_config(const Checkpoint& file, const std::string& prefix) {
  const std::string beside = prefix + ".comfy_quant";
  if (!file.contains(beside)) return std::nullopt;
  const std::vector<std::byte> bytes = file.bytes(beside);
  const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  JsonTree tree;
  if (tree.parse(text, QuantizationConfig::kLimits) != JsonTree::Problem::none ||
      !tree.root().is_object()) {
    refuse(Code::corrupt_data, "Checkpoint::weight: tensor {} must be a JSON object; got {}",
           in_quotes(beside), in_quotes(text));
  }
  return comfy_rule(tree.root());
}

}  // namespace octavo::checkpoint
