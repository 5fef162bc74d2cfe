// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/quantize_plan.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <span>
#include <utility>

#include "checkpoint/config_text.hpp"
#include "checkpoint/conv1d.hpp"
#include "checkpoint/experts_layout.hpp"
#include "checkpoint/impl.hpp"
#include "checkpoint/json_text.hpp"
#include "checkpoint/layer_filter.hpp"
#include "checkpoint/layer_report.hpp"
#include "checkpoint/layer_tensors.hpp"
#include "checkpoint/outlier_columns.hpp"
#include "checkpoint/quantization_config.hpp"
#include "checkpoint/sentence.hpp"
#include "octavo/context.hpp"

namespace octavo::checkpoint {
namespace {

constexpr const char* kQuantize = "quantize_file";
constexpr std::int64_t kPack = 4;  // codes in an int32

bool is_expert(std::string_view layer) { return layer.find(".experts.") != std::string_view::npos; }

class Planner {
 public:
  Planner(const Checkpoint& in, const QuantizeFileOptions& options)
      : in_(in),
        recipe_(recipe_of(kQuantize, options.scheme)),
        options_(options),
        stored_(in),
        config_(in.impl().text("config.json").value_or("{}")),
        has_conv1d_(has_conv1d(config_)),
        ignore_(kQuantize, Code::invalid_argument, options.ignore) {}

  Plan plan() {
    refuse_quantised();
    for (const CheckpointFile& file : in_.files()) plan_.files.push_back({.name = file.name});
    for (const TensorEntry& entry : in_.entries()) {
      if (!stored_.is_part(entry)) add(entry);
    }
    for (const StoredLayer& layer : stored_.layers()) add_again(layer);
    check_ignored();
    refuse_nothing();
    if (has_tied_head()) kept_.emplace_back("lm_head");
    plan_.config = config_text(kQuantize, options_.scheme, kept_, outliers(),
                               !packed_ ? Packed::none
                               : plain_ ? Packed::experts
                                        : Packed::all);
    if (uneven_ > 0) {
      plan_.warnings.push_back(fmt::format(
          "quantize_file: sizes of layers must be below {} or multiples of it for transformers to "
          "read fp8-block; got {} that stay in float, the first {}",
          kBlock, uneven_, first_uneven_));
    }
    if (experts_left_ > 0) {
      plan_.warnings.push_back(fmt::format(
          "quantize_file: experts must be quantised by another scheme than llm-int8, whose layers "
          "transformers does not use for them; got {} tensors of experts that stay in float",
          experts_left_));
    }
    if (!left_.empty()) {
      plan_.warnings.push_back(
          fmt::format("quantize_file: linear layers must be 2-D tensors named *.weight, or experts "
                      "[E, N, K], to "
                      "be quantised; got {} that may be some and stay in float, the first {} {}",
                      left_.size(), in_quotes(left_[0]->name), shape_text(left_[0]->shape)));
    }
    return std::move(plan_);
  }

 private:
  void refuse_quantised() const {
    const std::vector<StoredLayer>& layers = stored_.layers();
    if (layers.empty() || options_.requantize) return;
    refuse(Code::invalid_argument,
           "quantize_file: {} {} must hold float weights; got {} quantised layers, the first {} "
           "(requantize makes codes anew of what they stand for)",
           in_.folder().empty() ? "file" : "folder", in_quotes(in_.path()), layers.size(),
           in_quotes(layers[0].name));
  }

  void refuse_nothing() const {
    if (!quantized_.empty()) return;
    refuse(Code::invalid_argument,
           "quantize_file: {} {} must hold linear layers to quantise (float tensors [N, K] named "
           "*.weight that are no embeddings, norms, routers or output heads); got none among {} "
           "tensors, {} of them left alone",
           in_.folder().empty() ? "file" : "folder", in_quotes(in_.path()), in_.entries().size(),
           kept_.size());
  }

  void add(const TensorEntry& entry) {
    FilePlan& file = plan_.files[entry.file];
    Treatment treated = treatment(entry, ignore_);
    if (treated == Treatment::quantise && is_transposed(entry)) return add_transposed(file, entry);
    if (treated == Treatment::quantise &&
        (stays(*layer_of(entry.name)) || !blocks_fit(entry.name, entry.shape[0], entry.shape[1]))) {
      treated = Treatment::keep_layer;
    }
    if (treated == Treatment::quantise) {
      return add_layer(file, {.name = std::string(*layer_of(entry.name)),
                              .entry = &entry,
                              .n = entry.shape[0],
                              .k = entry.shape[1]});
    }
    if (treated == Treatment::copy && add_experts(file, entry)) return;
    if (treated == Treatment::keep_layer) kept_.emplace_back(*layer_of(entry.name));
    if (treated == Treatment::copy && looks_linear(entry)) left_.push_back(&entry);
    ++plan_.tensors_copied;
    file.copy(entry);
  }

  void add_layer(FilePlan& file, LayerPlan layer) {
    quantized_.emplace(layer.name, layer.k);
    layer.recipe = &recipe_;
    const bool expert = is_expert(layer.name);
    layer.packed = expert && options_.scheme == Scheme::int8_dynamic && layer.k % kPack == 0;
    (layer.packed ? packed_ : plain_) = true;
    if (layer.packed) {
      layer.codes = file.add({layer.name + ".weight_packed", "I32", {layer.n, layer.k / kPack}});
      const std::array<std::int64_t, 2> shape{layer.n, layer.k};
      const auto bytes = std::as_bytes(std::span(shape));
      file.constants.push_back(
          {file.add({layer.name + ".weight_shape", "I64", {2}}), {bytes.begin(), bytes.end()}});
    } else {
      layer.codes = file.add({layer.name + ".weight", recipe_.code_type, {layer.n, layer.k}});
    }
    layer.scale = file.add(scale_shape(recipe_, layer.name, layer.n, layer.k));
    add_format(file, layer.name);
    file.layers.push_back(std::move(layer));
  }

  // bitsandbytes' byte that says "row-major".
  void add_format(FilePlan& file, const std::string& layer) const {
    if (!recipe_.bitsandbytes) return;
    file.constants.push_back({file.add({layer + ".weight_format", "U8", {}}), {std::byte{0}}});
  }

  // A head that shares the embeddings' weight is in no file, and other programs would make a
  // quantised layer of it.
  bool has_tied_head() const {
    const std::string_view classes = json_field(config_, "architectures").value_or("");
    const bool has_head = classes.find("CausalLM") != std::string_view::npos ||
                          classes.find("LMHead") != std::string_view::npos ||
                          classes.find("ConditionalGeneration") != std::string_view::npos;
    return has_head && std::ranges::none_of(in_.entries(), [](const TensorEntry& entry) {
             return entry.name.ends_with("lm_head.weight");
           });
  }

  // transformers takes the length of a block from the number of scales, so that the last one of a
  // size that 128 does not divide would be read wrong; it loads folders.
  bool blocks_fit(const std::string& name, std::int64_t n, std::int64_t k) {
    const auto fits = [](std::int64_t extent) { return extent < kBlock || extent % kBlock == 0; };
    if (recipe_.grid.rows != kBlock || in_.folder().empty() || (fits(n) && fits(k))) return true;
    if (uneven_++ == 0) first_uneven_ = fmt::format("{} [{}, {}]", in_quotes(name), n, k);
    return false;
  }

  // bitsandbytes' layers are Linear modules, and transformers has experts in modules of their own.
  bool stays(std::string_view layer) {
    if (!recipe_.bitsandbytes || !is_expert(layer)) return false;
    ++experts_left_;
    return true;
  }

  // The weight [K, N] of transformers' Conv1D goes out as [N, K].
  void add_transposed(FilePlan& file, const TensorEntry& entry) {
    const std::string layer(*layer_of(entry.name));
    if (!recipe_.bitsandbytes) {
      refuse(Code::invalid_argument,
             "quantize_file: scheme must be llm-int8 for tensor {}, which is a Conv1D's [K, N] as "
             "config.json's model_type says: the formats of the others have no such layers; got {} "
             "(or --ignore it)",
             in_quotes(entry.name), scheme_name(options_.scheme));
    }
    const std::int64_t k = entry.shape[0], n = entry.shape[1];
    add_whole(file, entry, layer, n, k, [&in = in_, &entry] {
      const Tensor stored = in.tensor(entry.name);
      return copy(stored.view().transposed(), stored.dtype());
    });
  }

  // A layer that is quantised in one piece, of the float weight [n, k] that `values` gives.
  void add_whole(FilePlan& file, const TensorEntry& entry, const std::string& layer, std::int64_t n,
                 std::int64_t k, std::function<Tensor()> values) {
    quantized_.emplace(layer, k);
    plain_ = true;
    MadePlan& made = file.made.emplace_back();
    made.entry = &entry;
    made.reports = true;
    made.outputs = {file.add({layer + ".weight", recipe_.code_type, {n, k}}),
                    file.add(scale_shape(recipe_, layer, n, k))};
    made.make = [&recipe = recipe_, layer, values = std::move(values)](LayerReport& report) {
      const Tensor weight = values();
      const Written written = recipe.quantise(weight, {.executor = &serial_executor()});
      report = measure(kQuantize, layer, weight, written.codes);
      return std::vector<Tensor>{written.codes.data, written.scale};
    };
    add_format(file, layer);
  }

  bool is_transposed(const TensorEntry& entry) const {
    return has_conv1d_ && is_conv1d(*layer_of(entry.name));
  }

  // A layer that is quantised already: codes anew of the values that it stands for, or, where it is
  // to be left alone, the values.
  void add_again(const StoredLayer& layer) {
    FilePlan& file = plan_.files[layer.codes->file];
    const TensorView codes = in_.weight(layer.name).codes.data;
    const std::int64_t n = codes.shape[0], k = codes.shape[1];
    if (!ignore_.match(layer.name)) {
      return add_whole(file, *layer.codes, layer.name, n, k,
                       [&in = in_, name = layer.name] { return float_values(in.weight(name)); });
    }
    kept_.push_back(layer.name);
    const std::size_t output = file.add({layer.name + ".weight", "BF16", {n, k}});
    file.made.push_back({layer.codes, {output}, [&in = in_, name = layer.name](LayerReport&) {
                           return std::vector<Tensor>{
                               float_values(in.weight(name), DType::bfloat16)};
                         }});
  }

  // Stacked experts go out as one linear layer each, which is how checkpoints in 8 bits have them.
  bool add_experts(FilePlan& file, const TensorEntry& entry) {
    const std::vector<ExpertRows> layers = expert_layers(in_, entry);
    if (layers.empty() || ignore_.match(entry.name) || stays(layers[0].layer) ||
        !blocks_fit(entry.name, layers[0].rows, entry.shape[2])) {
      return false;
    }
    for (const ExpertRows& rows : layers) {
      if (ignore_.match(rows.layer)) return false;
    }
    for (const ExpertRows& rows : layers) {
      add_layer(file, {.name = rows.layer,
                       .entry = &entry,
                       .first_row = rows.first_row,
                       .n = rows.rows,
                       .k = entry.shape[2]});
    }
    return true;
  }

  // A pattern that matches nothing is a misspelt one, and a layer would be quantised for it.
  void check_ignored() const {
    std::vector<std::string> layers;
    for (const TensorEntry& entry : in_.entries()) {
      if (const auto layer = layer_of(entry.name)) layers.emplace_back(*layer);
      if (entry.shape.size() == 3) layers.push_back(entry.name);
    }
    for (const auto& [layer, k] : quantized_) layers.push_back(layer);
    for (const std::string& pattern : options_.ignore) {
      const NamePatterns one(kQuantize, Code::invalid_argument, {pattern});
      if (std::ranges::any_of(layers, [&](const std::string& name) { return one.match(name); })) {
        continue;
      }
      refuse(Code::invalid_argument, "quantize_file: ignore must name layers of the {}; got {}{}",
             in_.folder().empty() ? "file" : "folder", in_quotes(pattern),
             nearest_name(layers, pattern));
    }
  }

  OutlierConfig outliers() const {
    const auto& lists = options_.outlier_columns;
    const auto& threshold = options_.outlier_threshold;
    if (!recipe_.bitsandbytes && (!lists.empty() || threshold || options_.whole_columns)) {
      refuse(Code::invalid_argument,
             "quantize_file: scheme must be llm-int8 for outlier_columns, outlier_threshold or "
             "whole_columns; got {}",
             scheme_name(options_.scheme));
    }
    if (threshold && !(*threshold >= 0.0F && std::isfinite(*threshold))) {
      refuse(Code::invalid_argument,
             "quantize_file: outlier_threshold must be a finite number not below 0; got {}",
             *threshold);
    }
    for (const auto& [layer, columns] : lists) check_list(layer, columns);
    return {threshold.value_or(kOutlierThreshold), options_.whole_columns, lists};
  }

  void check_list(const std::string& layer, const std::vector<std::int64_t>& columns) const {
    const auto found = quantized_.find(layer);
    if (found == quantized_.end()) {
      std::vector<std::string> names;
      for (const auto& row : quantized_) names.push_back(row.first);
      refuse(Code::invalid_argument,
             "quantize_file: outlier_columns must name layers that are quantised; got {}{}",
             in_quotes(layer), nearest_name(names, layer));
    }
    outlier_column_tensor(
        Code::invalid_argument,
        fmt::format("quantize_file: outlier_columns of layer {}", in_quotes(layer)), columns,
        found->second);
  }

  const Checkpoint& in_;
  const Recipe& recipe_;
  const QuantizeFileOptions& options_;
  LayerTensors stored_;  ///< layers that are quantised already
  std::string config_;   ///< config.json
  bool has_conv1d_;
  bool packed_ = false, plain_ = false;  ///< whether layers are packed, whether others are not
  std::int64_t experts_left_ = 0, uneven_ = 0;
  std::string first_uneven_;
  NamePatterns ignore_;
  Plan plan_{.operation = kQuantize};
  std::vector<std::string> kept_;                  ///< layers that stay in float
  std::vector<const TensorEntry*> left_;           ///< what may be layers and is copied
  std::map<std::string, std::int64_t> quantized_;  ///< layers, and their K
};

}  // namespace

Plan plan_quantisation(const Checkpoint& in, const QuantizeFileOptions& options) {
  return Planner(in, options).plan();
}

}  // namespace octavo::checkpoint
