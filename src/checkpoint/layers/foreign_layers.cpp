// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/layers/foreign_layers.hpp"

#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "checkpoint/declared/declared.hpp"
#include "checkpoint/dialects/dialect.hpp"
#include "checkpoint/text/json_text.hpp"
#include "checkpoint/text/sentence.hpp"

namespace octavo::checkpoint {
namespace {

/// What is wrong with a layer whose codes have those extents.
Status status_of(const Checkpoint& in, const std::string& layer, Extents extents) {
  try {
    CodesInPlace codes;
    (void)read_weight(in, layer, &codes, extents);
    return {};
  } catch (const Error& error) {
    return error.status();
  }
}

/// Why a layer is not read; nothing: it is.
std::optional<std::string> refusal(const Checkpoint& in, const std::string& layer) {
  Status status = status_of(in, layer, Extents::any);
  if (status.code() == Code::corrupt_data) {
    const Status of_matrix = status_of(in, layer, Extents::matrix);
    if (of_matrix.code() == Code::invalid_argument) status = of_matrix;  // no matrix: a stack, say
  }
  if (status.code() == Code::unsupported || status.code() == Code::invalid_argument) {
    return std::string(status.message());
  }
  throw_if_failed(status);
  return std::nullopt;
}

/// The model's declaration where compressed-tensors' is the one that counts.
std::optional<std::string> compressed_tensors_text(const Checkpoint& in) {
  if (in.declarations().empty()) return std::nullopt;
  const std::string& text = in.declarations()[0].text;
  if (json_field(text, "quant_method") != R"("compressed-tensors")") return std::nullopt;
  return text;
}

}  // namespace

std::vector<ForeignLayer> take_foreign(const char* operation, const Checkpoint& in,
                                       LayerTensors& tensors) {
  std::vector<ForeignLayer> foreign;
  std::set<std::string> names;
  for (const StoredLayer& layer : tensors.alone()) {
    auto reason = refusal(in, layer.name);
    if (!reason) continue;
    names.insert(layer.name);
    foreign.push_back({layer.name, *std::move(reason)});
  }
  if (!foreign.empty() && foreign.size() == tensors.layers().size()) {
    refuse(Code::unsupported,
           "{}: {} must hold a quantised layer that is read; got {}, the first: {}", operation,
           in_quotes(in.path()), foreign.size(), foreign[0].reason);
  }
  tensors.leave(names);
  return foreign;
}

std::string left_as_stored(const char* operation, const std::vector<ForeignLayer>& layers,
                           bool declared) {
  if (layers.empty()) return {};
  return fmt::format(
      "{}: {} quantised layers are not read and left as they are stored{} (the first: "
      "{}: {})",
      operation, layers.size(), declared ? "" : ", and what is written does not declare them",
      in_quotes(layers[0].name), layers[0].reason);
}

std::string declared_group(const Checkpoint& in, const std::string& layer) {
  const auto text = compressed_tensors_text(in);
  const auto groups = text ? json_field(*text, "config_groups") : std::nullopt;
  const std::string key = groups ? in.impl().config().group_name(layer) : "";
  const auto group = key.empty() ? std::nullopt : json_field(*groups, key);
  if (!group || !group->starts_with('{')) return {};
  const auto own = json_field(*group, "format");
  const auto common = json_field(*text, "format");
  if ((own && *own != "null") || !common) return std::string(*group);
  return with_json_field(*group, "format", *common);
}

std::string declared_without(const Checkpoint& in, const std::vector<std::string>& layers) {
  const auto text = compressed_tensors_text(in);
  if (!text) return {};
  std::vector<std::string> ignored = in.impl().config().left_alone();
  ignored.insert(ignored.end(), layers.begin(), layers.end());
  return with_json_field(*text, "ignore", json_strings("dequantize_file", ignored));
}

}  // namespace octavo::checkpoint
