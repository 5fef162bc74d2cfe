// SPDX-License-Identifier: Apache-2.0
// GPTQ's packing, as GPTQ's tools and AutoRound declare it: a rule for all layers, others by name.
#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "checkpoint/declared/config_reader.hpp"

namespace octavo::checkpoint {
namespace {

using Json = JsonValue;

/// A field of a layer's own rule, else of the rule for all.
Json field(const Json& own, const Json& all, const char* name) {
  const Json value = own[name];
  return value.is_null() ? all[name] : value;
}

/// "sym" says how zero points were chosen. Those that are stored count, as in the tools' own
/// readers.
LayerConfig gptq_rule(const Json& own, const Json& all, int zero_point_offset) {
  LayerConfig rule;
  rule.zero_point_offset = zero_point_offset;
  const Json bits = field(own, all, "bits");
  if (bits.integer() != 8) unsupported_config("bits", "be 8", bits);
  const Json size = field(own, all, "group_size");
  rule.grid = ScaleGrid{1, kWholeExtent};
  if (!size.is_null() && size.integer() != -1) rule.grid->cols = positive(size, "group_size");
  rule.activation = std::optional<ActivationQuant>();
  return rule;
}

/// A zero point is its byte plus one in GPTQ's first form, its byte in the second.
int zero_point_offset(const Json& config) {
  int offset = 1;
  for (const char* property : {"checkpoint_format", "format"}) {
    const std::string_view format = config[property].text();
    if (format == "gptq_v2") offset = 0;
    if (!format.empty() && format != "gptq" && format != "gptq_v2") {
      unsupported_config(property, "be gptq or gptq_v2", config[property]);
    }
  }
  return offset;
}

LayerConfig left_alone_rule() {
  LayerConfig rule;
  rule.listed = Listed::left_alone;
  return rule;
}

/// What AutoRound calls GPTQ's packing, and what a zero point is more than its byte.
struct Packing {
  std::string_view name;
  int offset;
};
constexpr std::array<Packing, 3> kPackings{
    {{"auto_round:auto_gptq", 1}, {"auto_round:gptqmodel", 0}, {"auto_round", 0}}};

int packing_offset(const Json& config) {
  const Json name = config["packing_format"];
  const auto row = std::ranges::find(kPackings, name.text(), &Packing::name);
  if (row == kPackings.end()) {
    unsupported_config("packing_format",
                       "be auto_round:auto_gptq, auto_round:gptqmodel or auto_round", name);
  }
  return row->offset;
}

/// Of 16 bits: the layer is in float.
LayerConfig auto_round_rule(const Json& own, const Json& all, int offset) {
  if (field(own, all, "bits").integer() >= 16) return left_alone_rule();
  const Json type = field(own, all, "data_type");
  if (!type.is_null() && type.text() != "int") unsupported_config("data_type", "be int", type);
  const Json inputs = field(own, all, "act_bits");
  if (inputs.is_integer() && inputs.integer() < 16) {
    unsupported_config("act_bits", "be 16 or more, since GPTQ's packing has float activations",
                       inputs);
  }
  return gptq_rule(own, all, offset);
}

}  // namespace

// GPTQModel's "dynamic": expressions for names, "-:" for layers in float, the first that matches.
void ConfigReader::gptq(Json config) {
  std::vector<std::string> expressions;
  refuse_all([&] {
    const int offset = zero_point_offset(config);
    for (const Json layer : config["dynamic"].items()) {
      std::string_view expression = layer.key();
      const bool skip = expression.starts_with("-:");
      if (skip || expression.starts_with("+:")) expression.remove_prefix(2);
      expressions.push_back("re:" + std::string(expression));
      config_.group_of_target_.push_back(add_group(
          group_of([&] { return skip ? left_alone_rule() : gptq_rule(layer, config, offset); })));
    }
    const Json none = config["no such field"];
    const std::size_t all = add_group(group_of([&] { return gptq_rule(none, config, offset); }));
    config_.group_of_all_ = config_.group_of_tables_ = all;
  });
  config_.targets_.emplace("Checkpoint::weight", Code::corrupt_data, expressions);
}

// "extra_config" has layers by their names, then by expressions that match anywhere in a name.
void ConfigReader::auto_round(Json config) {
  std::vector<std::string> names, expressions;
  std::vector<std::size_t> of_names, of_expressions;
  refuse_all([&] {
    const int offset = packing_offset(config);
    for (const Json layer : config["extra_config"].items()) {
      const std::size_t group =
          add_group(group_of([&] { return auto_round_rule(layer, config, offset); }));
      const std::string_view key = layer.key();
      const bool exact = key.find_first_of("*+?^$()[]{}|\\") == std::string_view::npos;
      (exact ? names : expressions)
          .push_back(exact ? std::string(key) : fmt::format("re:.*(?:{})", key));
      (exact ? of_names : of_expressions).push_back(group);
    }
    const Json none = config["no such field"];
    const std::size_t all =
        add_group(group_of([&] { return auto_round_rule(none, config, offset); }));
    config_.group_of_all_ = config_.group_of_tables_ = all;
  });
  names.insert(names.end(), expressions.begin(), expressions.end());
  of_names.insert(of_names.end(), of_expressions.begin(), of_expressions.end());
  config_.group_of_target_ = std::move(of_names);
  config_.targets_.emplace("Checkpoint::weight", Code::corrupt_data, names);
}

}  // namespace octavo::checkpoint
