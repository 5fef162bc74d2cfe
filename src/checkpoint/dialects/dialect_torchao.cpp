// SPDX-License-Identifier: Apache-2.0
// torchao: tensor subclasses taken apart; what they are is JSON in the file's metadata, a key for
// each parameter.
#include <algorithm>
#include <array>
#include <optional>

#include "checkpoint/dialects/dialect.hpp"
#include "checkpoint/text/json_tree.hpp"
#include "checkpoint/text/sentence.hpp"

namespace octavo::checkpoint {
namespace {

using Json = JsonValue;

[[noreturn]] void reject(const Layer& layer, Code code, std::string_view property,
                         std::string_view rule, const Json& got) {
  refuse(code, "Checkpoint::weight: metadata {}.{} must {}; got {}",
         in_quotes(layer.name(".weight")), property, rule, in_quotes(got.spelled()));
}

JsonTree description(const Layer& layer) {
  const std::string key = layer.name(".weight");
  const auto text = layer.file.metadata().find(key);
  if (text == layer.file.metadata().end()) {
    refuse(
        Code::corrupt_data,
        "Checkpoint::weight: metadata {} must describe tensor {}, as torchao writes it; got none",
        in_quotes(key), in_quotes(layer.name(layer.dialect.codes)));
  }
  JsonTree tree;
  if (tree.parse(text->second, QuantizationConfig::kLimits) == JsonTree::Problem::none) return tree;
  refuse(Code::corrupt_data, "Checkpoint::weight: metadata {} must be JSON; got {}", in_quotes(key),
         in_quotes(text->second));
}

/// [1, 32] of a weight [N, 32] is a row.
ScaleGrid grid_of_block(const Layer& layer, const Tensor& codes, const Json& block) {
  std::array<std::int64_t, 2> sizes{};
  std::size_t count = 0;
  for (const Json size : block.items()) {
    if (count < sizes.size()) sizes[count] = size.integer();
    ++count;
  }
  if (count != sizes.size() || sizes[0] < 1 || sizes[1] < 1) {
    reject(layer, Code::corrupt_data, "block_size", "be two positive integers", block);
  }
  const auto whole = [](std::int64_t size, std::int64_t extent) {
    return size == extent ? kWholeExtent : size;
  };
  return {whole(sizes[0], codes.size(0)), whole(sizes[1], codes.size(1))};
}

/// How activations are quantised: by torchao's description of that.
std::optional<ActivationQuant> rule_of(const Layer& layer, const Json& described, DType codes) {
  if (described.is_null()) return std::nullopt;
  const Json fields = described["_data"];
  const std::string_view dtype = fields["float8_dtype"]["_data"].text();
  DType type = codes == DType::int8 ? DType::int8 : DType::float8_e4m3fn;
  if (dtype == "float8_e5m2") type = DType::float8_e5m2;
  ActivationQuant rule = per_token_rule(type);
  const Json granularity = fields["granularity"];
  const std::string_view kind = granularity["_type"].text();
  if (kind == "PerTensor") rule.spec.granularity = per_tensor();
  if (kind == "PerGroup") {
    const std::int64_t length = granularity["_data"]["group_size"].integer();
    if (length < 1) {
      reject(layer, Code::corrupt_data, "group_size", "be a positive integer", granularity);
    }
    rule = group_rule(type, length);
  }
  if (kind != "PerRow" && kind != "PerTensor" && kind != "PerGroup") {
    reject(layer, Code::unsupported, "granularity", "be PerRow, PerTensor or PerGroup",
           granularity["_type"]);
  }
  const Json bound = fields["hp_value_ub"];
  if (bound.is_number()) rule.spec.scale_ub = static_cast<float>(bound.number());
  rule.spec.azp = fields["mapping_type"]["_data"].text() == "ASYMMETRIC";
  return rule;
}

struct Subclass {
  std::string_view name;
  std::string_view activations;  ///< the field that describes them
};
constexpr std::array<Subclass, 3> kSubclasses{{
    {"Int8Tensor", "act_quant_kwargs"},
    {"Float8Tensor", "act_quant_kwargs"},
    {"IntxUnpackedToInt8Tensor", "activation_quantization"},
}};

}  // namespace

Weight read_torchao(const Layer& layer) {
  const JsonTree tree = description(layer);
  const Json type = tree.root()["_type"];
  const Json fields = tree.root()["_data"];
  const auto subclass = std::ranges::find(kSubclasses, type.text(), &Subclass::name);
  if (subclass == kSubclasses.end()) {
    reject(layer, Code::unsupported, "_type",
           "be Int8Tensor, Float8Tensor or IntxUnpackedToInt8Tensor", type);
  }
  const Tensor codes = layer.matrix();
  Layer declared = layer;
  declared.config.grid = grid_of_block(layer, codes, fields["block_size"]);
  const Json activations = fields[subclass->activations];
  if (activations.is_text()) {  // Intx names a rule of its own
    reject(layer, Code::unsupported, subclass->activations, "be null", activations);
  }
  declared.config.activation = rule_of(layer, activations, codes.dtype());
  const Json target = fields["target_dtype"]["_data"];
  if (target.is_text() &&
      target.text() != "int8") {  // fewer bits, each in a byte: codes all the same
    declared.config.integers = true;
  }
  return scaled_weight(declared,
                       {codes, layer.tensor(layer.dialect.scale), stored_zero_points(layer)}, {},
                       activations_stay);
}

}  // namespace octavo::checkpoint
