// SPDX-License-Identifier: Apache-2.0
// Writing layers that are quantised already, in the form that quantize_file gives their scheme.
#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <span>
#include <utility>

#include "checkpoint/declared/declaration.hpp"
#include "checkpoint/declared/layer_filter.hpp"
#include "checkpoint/declared/quantization_config.hpp"
#include "checkpoint/models/loadable.hpp"
#include "checkpoint/plan/config_text.hpp"
#include "checkpoint/safetensors/dtype.hpp"
#include "checkpoint/steps/recipe.hpp"
#include "checkpoint/steps/rows.hpp"
#include "checkpoint/text/sentence.hpp"
#include "octavo/checkpoint.hpp"
#include "weights/outlier_columns.hpp"
#include "weights/rule.hpp"

namespace octavo {
namespace {

using namespace checkpoint;

constexpr const char* kWrite = "write_checkpoint";

const Recipe& recipe_of_layer(const LayerToWrite& layer) {
  const auto scheme = scheme_from_name(layer.weight.scheme);
  if (!scheme) {
    refuse(Code::invalid_argument,
           "write_checkpoint: layer {}.scheme must be one that files are quantised by; got {}",
           in_quotes(layer.name), in_quotes(layer.weight.scheme));
  }
  return recipe_of(kWrite, *scheme);
}

/// Whether a file of that scheme can say all of the weight. Thresholds and outlier columns aside.
bool can_say(const Recipe& recipe, const Weight& weight) {
  const Quantized& codes = weight.codes;
  if (codes.data.rank() != 2 || codes.data.dtype() != dtype_of_name(recipe.code_type)) return false;
  if (codes.grid != recipe.grid || codes.azp.defined() || weight.columns.defined()) return false;
  if (codes.row0 != 0 || codes.col0 != 0) return false;
  const std::optional<ActivationQuant> usual = recipe.rule();
  if (!weight.activation || !usual) {
    const bool words = !recipe.packs_all() || codes.data.size(1) % kCodesInWord == 0;
    return words && !weight.activation && !usual && !weight.absmax.defined();
  }
  const ActivationQuant& rule = *weight.activation;
  ActivationQuant known = *usual;
  if (recipe.bitsandbytes && std::isfinite(rule.outlier_threshold)) {
    known.outlier_threshold = std::max(rule.outlier_threshold, 0.0F);
    known.whole_columns = rule.whole_columns;
  }
  if (recipe.scheme == Scheme::int8_dynamic) known.rotation = rule.rotation;  // ComfyUI's convrot
  return same_rule(known, rule) && recipe.bitsandbytes == weight.absmax.defined() &&
         (recipe.bitsandbytes || !rule.outlier_columns.defined());
}

/// How ComfyUI's files say a layer of int8-dynamic.
TensorToWrite comfy_quant(const std::string& layer, std::int32_t rotation) {
  const std::string json = comfyui_text(rotation);
  const auto bytes = std::as_bytes(std::span(json));
  return {layer + ".comfy_quant",
          "U8",
          {std::ssize(json)},
          [text = std::vector<std::byte>(bytes.begin(), bytes.end())] { return text; }};
}

std::int32_t rotation_of(const Weight& weight) {
  return weight.activation ? weight.activation->rotation : 0;
}

class CheckpointWriter {
 public:
  explicit CheckpointWriter(std::span<const LayerToWrite> layers) {
    if (layers.empty()) {
      refuse(Code::invalid_argument, "write_checkpoint: layers must have at least one; got none");
    }
    first_ = &layers[0];
    comfy_ = std::ranges::any_of(
        layers, [](const LayerToWrite& layer) { return rotation_of(layer.weight) != 0; });
    for (const LayerToWrite& layer : layers) add(layer);
  }

  std::vector<std::string> write(const std::string& path, std::vector<TensorToWrite> others,
                                 std::map<std::string, std::string> metadata) {
    std::vector<std::string> kept;
    for (TensorToWrite& other : others) {
      const auto layer = layer_of(other.name);
      const bool matrix = other.shape.size() == 2 && is_wide(dtype_of_name(other.dtype));
      if (layer && matrix) kept.emplace_back(*layer);
      tensors_.push_back(std::move(other));
    }
    if (comfy_) {  // whose layers say by themselves what they are
      metadata.erase(kConfigKey);
      write_safetensors(path, std::move(tensors_), metadata);
      return {};
    }
    const Scheme scheme = recipe_of_layer(*first_).scheme;
    metadata[kConfigKey] = config_text(kWrite, scheme, kept, outliers_);
    std::vector<std::string> warnings = declaration_warnings(kWrite, path, metadata[kConfigKey]);
    write_safetensors(path, std::move(tensors_), metadata);
    return warnings;
  }

 private:
  void add(const LayerToWrite& layer) {
    const Recipe& recipe = recipe_of_layer(layer);
    const Weight& weight = layer.weight;
    if (weight.scheme != first_->weight.scheme) {
      refuse(Code::invalid_argument,
             "write_checkpoint: layer {}.scheme must be that of the other layers, {}; got {}",
             in_quotes(layer.name), first_->weight.scheme, weight.scheme);
    }
    if (!can_say(recipe, weight)) {
      refuse(Code::invalid_argument,
             "write_checkpoint: layer {} must have the codes, scales and activation rule that "
             "quantize_file gives scheme {}; got {} {} of another form",
             in_quotes(layer.name), weight.scheme, name(weight.codes.data.dtype()),
             shape_string(weight.codes.data));
    }
    add_rule(layer);
    const std::int64_t n = weight.codes.data.size(0);
    const std::int64_t k = weight.codes.data.size(1);
    const Tensor scale = recipe.bitsandbytes ? weight.absmax : weight.codes.scale;
    if (comfy_) tensors_.push_back(comfy_quant(layer.name, rotation_of(weight)));
    add_codes(layer.name, recipe, weight.codes.data);
    for (TensorToWrite& beside : tensors_beside(
             recipe, layer.name, n, k, [&recipe, scale] { return stored_scale(recipe, scale); })) {
      tensors_.push_back(std::move(beside));
    }
  }

  void add_codes(const std::string& layer, const Recipe& recipe, const Tensor& codes) {
    const std::int64_t n = codes.size(0), k = codes.size(1);
    if (!recipe.packs_all()) {
      tensors_.push_back({layer + ".weight", recipe.code_type, {n, k}, [codes] {
                            return bytes_of(copy(codes, codes.dtype()));
                          }});
      return;
    }
    tensors_.push_back({layer + ".weight_packed", "I32", {n, k / kCodesInWord}, [codes] {
                          const Tensor bytes = copy(codes, codes.dtype());
                          add_128(bytes);
                          return bytes_of(bytes);
                        }});
    tensors_.push_back({layer + ".weight_shape", "I64", {2}, [n, k] {
                          const std::array<std::int64_t, 2> shape{n, k};
                          const auto bytes = std::as_bytes(std::span(shape));
                          return std::vector<std::byte>(bytes.begin(), bytes.end());
                        }});
  }

  // A file has one threshold, and a list for each layer.
  void add_rule(const LayerToWrite& layer) {
    if (!layer.weight.activation) return;
    const ActivationQuant& rule = *layer.weight.activation;
    const ActivationQuant& first = *first_->weight.activation;
    ActivationQuant alike = rule;
    alike.rotation = first.rotation;  // each has its own
    if (!same_rule(alike, first)) {
      refuse(
          Code::invalid_argument,
          "write_checkpoint: layer {} must have the other layers' threshold and whole_columns, {} "
          "and {}; got {} and {}",
          in_quotes(layer.name), first.outlier_threshold, first.whole_columns,
          rule.outlier_threshold, rule.whole_columns);
    }
    outliers_.threshold = rule.outlier_threshold;
    outliers_.whole_columns = rule.whole_columns;
    const auto list = outlier_column_list(rule.outlier_columns);
    if (!list.empty()) outliers_.columns[layer.name] = {list.begin(), list.end()};
  }

  const LayerToWrite* first_ = nullptr;
  bool comfy_ = false;
  std::vector<TensorToWrite> tensors_;
  OutlierConfig outliers_;
};

}  // namespace

std::vector<std::string> write_checkpoint(const std::string& path,
                                          std::span<const LayerToWrite> layers,
                                          std::vector<TensorToWrite> others,
                                          const std::map<std::string, std::string>& metadata) {
  return at_edge(kWrite,
                 [&] { return CheckpointWriter(layers).write(path, std::move(others), metadata); });
}

}  // namespace octavo
