// SPDX-License-Identifier: Apache-2.0
// ComfyUI: what a layer is, is said beside it or in the file's metadata.
#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include "checkpoint/dialect.hpp"
#include "checkpoint/json_tree.hpp"
#include "checkpoint/sentence.hpp"

namespace octavo::checkpoint {
namespace {

using Json = JsonValue;

constexpr std::string_view kBeside = ".comfy_quant";
constexpr const char* kMetadata = "_quantization_metadata";

LayerConfig floats(DType codes) {
  LayerConfig rule;
  rule.codes = codes;
  rule.grid = ScaleGrid{};
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

LayerConfig rule_of(const std::string& prefix, const Json& format) {
  const Json name = format["format"];
  const auto row = std::ranges::find(kFormats, name.text(), &Format::name);
  if (row == kFormats.end()) {
    refuse(Code::unsupported,
           "Checkpoint::weight: layer {} must be of ComfyUI's format float8_e4m3fn, float8_e5m2, "
           "int8_tensorwise or int8_blockwise; got {}",
           in_quotes(prefix), in_quotes(name.spelled()));
  }
  if (format["convrot"].is(true)) {
    refuse(Code::unsupported,
           "Checkpoint::weight: layer {} must hold weights as they are; got ComfyUI's convrot, "
           "weights rotated in groups of K, whose activations would have to be rotated, too",
           in_quotes(prefix));
  }
  LayerConfig rule = row->rule(format);
  rule.listed = Listed::quantised;
  return rule;
}

JsonTree parse(std::string_view where, const std::string& text) {
  JsonTree tree;
  if (tree.parse(text, QuantizationConfig::kLimits) == JsonTree::Problem::none &&
      tree.root().is_object()) {
    return tree;
  }
  refuse(Code::corrupt_data, "Checkpoint::weight: {} must be a JSON object; got {}", where,
         in_quotes(text));
}

}  // namespace

std::optional<LayerConfig> comfy_config(const Checkpoint& file, const std::string& prefix) {
  const std::string beside = prefix + std::string(kBeside);
  const auto with_activations = [&](LayerConfig rule) {
    if (rule.activation)
      return rule;  // floats are multiplied by floats but for a scale of their own
    rule.static_activations = file.contains(prefix + ".input_scale");
    rule.activation = std::optional<ActivationQuant>();
    if (*rule.static_activations) rule.activation = per_token_rule(DType::float8_e4m3fn);
    return rule;
  };
  if (file.contains(beside)) {
    const std::vector<std::byte> bytes = file.bytes(beside);
    const JsonTree tree = parse(fmt::format("tensor {}", in_quotes(beside)),
                                {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    return with_activations(rule_of(prefix, tree.root()));
  }
  const auto text = file.metadata().find(kMetadata);
  if (text == file.metadata().end()) return std::nullopt;
  const JsonTree tree = parse(fmt::format("metadata '{}'", kMetadata), text->second);
  const Json layer = tree.root()["layers"][prefix];
  if (layer.is_null()) return std::nullopt;
  return with_activations(rule_of(prefix, layer));
}

}  // namespace octavo::checkpoint
