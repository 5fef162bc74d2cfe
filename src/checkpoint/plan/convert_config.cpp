// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/plan/convert_config.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "checkpoint/declared/quantization_config.hpp"
#include "checkpoint/models/loadable.hpp"
#include "checkpoint/plan/config_text.hpp"
#include "checkpoint/text/json_text.hpp"
#include "checkpoint/text/sentence.hpp"
#include "weights/outlier_columns.hpp"

namespace octavo::checkpoint {
namespace {

std::string strings(const std::vector<std::string>& names) {
  return json_strings(kConvertFile, names);
}

// What else compressed-tensors says of MXFP8.
const char* more_of(const Weight& weight) {
  return weight.scheme == "mxfp8" ? R"(,"scale_dtype":"torch.uint8")" : "";
}

/// compressed-tensors' arguments of weights.
std::string weight_arguments(const Weight& weight) {
  const ScaleGrid& grid = weight.codes.grid;
  std::string strategy = R"("strategy":"channel")";
  if (grid == ScaleGrid{kWholeExtent, kWholeExtent}) strategy = R"("strategy":"tensor")";
  if (grid.rows == 1 && grid.cols != kWholeExtent) {
    strategy = fmt::format(R"("strategy":"group","group_size":{})", grid.cols);
  } else if (grid.cols != kWholeExtent) {
    strategy = fmt::format(R"("strategy":"block","block_structure":[{},{}])", grid.rows, grid.cols);
  }
  return arguments_text(weight.codes.data.dtype(), strategy, !weight.codes.azp.defined(), false,
                        more_of(weight));
}

std::string activation_arguments(const Weight& weight) {
  if (!weight.activation) return "null";
  const ActivationQuant& rule = *weight.activation;
  const Granularity& granularity = rule.spec.granularity;
  std::string strategy = R"("strategy":"token")";
  if (granularity == per_tensor()) strategy = R"("strategy":"tensor")";
  if (granularity.kind == Granularity::Kind::group) {
    strategy = fmt::format(R"("strategy":"group","group_size":{})", granularity.rows);
  }
  return arguments_text(rule.spec.dtype, strategy, !rule.spec.azp, rule.static_scale == 0.0F,
                        more_of(weight));
}

constexpr std::string_view kPacked = "pack-quantized";

std::string_view format_of(const std::string& layer, const Weight& weight) {
  if (weight.scheme == "mxfp8") return "mxfp8-quantized";
  if (is_packed(layer, weight)) return kPacked;
  return is_float8(weight.codes.data.dtype()) ? "float-quantized" : "int-quantized";
}

}  // namespace

void ConvertedConfig::add(const std::string& layer, const Weight& weight) {
  ++layers_;
  const bool is_static = weight.activation && weight.activation->static_scale > 0.0F;
  static_layers_ += is_static ? 1 : 0;
  const std::string_view format = format_of(layer, weight);
  // Named when all layers of the group are known.
  const ConfigGroup unnamed =
      config_group("[]", weight_arguments(weight), activation_arguments(weight), format);
  Group& group = groups_[unnamed.text];
  group.layers.push_back(layer);
  group.format = format;
  group.rule = weight.activation;
  if (weight.activation) {
    const auto list = outlier_column_list(weight.activation->outlier_columns);
    if (!list.empty()) columns_[layer] = {list.begin(), list.end()};
  }
}

std::string ConvertedConfig::text(const std::vector<std::string>& kept) const {
  const std::string ignored = strings(kept);
  switch (format_) {
    case Format::compressed_tensors:
      return compressed_tensors(ignored);
    case Format::fp8:
    case Format::fp8_block:
      return fp8_text(static_layers_ > 0, format_ == Format::fp8_block, ignored);
    case Format::bitsandbytes:
      break;
  }
  return bitsandbytes(ignored);
}

// A single group takes the class, as other tools write it; several name their layers. Packed ones
// are experts, and where they are all of them their group takes the name of all; or they are layers
// of weights alone.
std::string ConvertedConfig::compressed_tensors(const std::string& kept) const {
  std::vector<const std::pair<const std::string, Group>*> packed, plain;
  bool plain_experts = false, packed_layers = false;
  for (const auto& row : groups_) {
    const bool is_packed = row.second.format == kPacked;
    (is_packed ? packed : plain).push_back(&row);
    plain_experts =
        plain_experts || (!is_packed && std::ranges::any_of(row.second.layers, is_expert));
    packed_layers =
        packed_layers || (is_packed && !std::ranges::all_of(row.second.layers, is_expert));
  }
  std::vector<ConfigGroup> groups;
  const auto add = [&](const auto& rows, bool all, std::string_view name_of_all) {
    for (const auto* row : rows) {
      const Group& group = row->second;
      const std::string targets =
          all && rows.size() == 1 ? fmt::format("[{}]", name_of_all) : strings(group.layers);
      groups.push_back({with_json_field(row->first, "targets", targets), group.format});
    }
  };
  if (packed_layers) {
    add(packed, plain.empty(), fmt::format(R"("Linear",{})", kAllExperts));
  } else {
    add(packed, !plain_experts, kAllExperts);
  }
  add(plain, !packed_layers, R"("Linear")");
  for (const auto& [group, layers] : declared_) {
    groups.push_back({with_json_field(group, "targets", strings(layers)), {}});
  }
  return compressed_tensors_text(groups, kept, kv_cache_scheme_);
}

std::string ConvertedConfig::bitsandbytes(const std::string& kept) const {
  OutlierConfig outliers{.columns = columns_};
  bool any = false;
  for (const auto& [key, group] : groups_) {
    const ActivationQuant& rule = *group.rule;
    if (any && rule.outlier_threshold != outliers.threshold) {
      refuse(Code::invalid_argument,
             "convert_file: format bitsandbytes must have one threshold; got {} and {}",
             outliers.threshold, rule.outlier_threshold);
    }
    outliers.threshold = rule.outlier_threshold;
    outliers.whole_columns = rule.whole_columns;
    any = true;
  }
  return bitsandbytes_text(kConvertFile, kept, outliers);
}

}  // namespace octavo::checkpoint
