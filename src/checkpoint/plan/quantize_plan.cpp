// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/plan/quantize_plan.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <span>
#include <utility>

#include "checkpoint/declared/declared.hpp"
#include "checkpoint/declared/layer_filter.hpp"
#include "checkpoint/declared/quantization_config.hpp"
#include "checkpoint/dialects/expert_layers.hpp"
#include "checkpoint/dialects/matrix_place.hpp"
#include "checkpoint/layers/layer_choice.hpp"
#include "checkpoint/layers/layer_tensors.hpp"
#include "checkpoint/layers/model_folder.hpp"
#include "checkpoint/models/loadable.hpp"
#include "checkpoint/open/open_checkpoint.hpp"
#include "checkpoint/plan/calibrated_plan.hpp"
#include "checkpoint/plan/config_text.hpp"
#include "checkpoint/steps/float_layers.hpp"
#include "checkpoint/steps/other_tensors.hpp"
#include "checkpoint/text/json_text.hpp"
#include "checkpoint/text/sentence.hpp"
#include "weights/outlier_columns.hpp"

namespace octavo::checkpoint {
namespace {

constexpr const char* kQuantize = "quantize_file";

class QuantizePlanner {
 public:
  QuantizePlanner(const Checkpoint& in, const QuantizeFileOptions& options)
      : in_(in),
        recipe_(recipe_of(kQuantize, options.scheme)),
        options_(options),
        stored_(in),
        model_(in.impl().model()),
        calibration_(calibration_of(recipe_, options)),
        ignore_(kQuantize, Code::invalid_argument, options.ignore),
        choice_(in, ignore_,
                recipe_.bitsandbytes          ? Readers::int8_modules
                : recipe_.grid.rows == kBlock ? Readers::fp8_modules
                                              : Readers::decompress,
                options.guess) {}

  WritePlan plan() {
    refuse_quantized();
    check_rotation();
    check_head();
    check_model_folder(kQuantize, in_, stored_);
    const WrittenForm form{kQuantize, "scheme", scheme_name(options_.scheme), recipe_.bitsandbytes,
                           recipe_.packs_experts()};
    if (!in_.folder().empty()) check_class_loads(form, model_);
    for (const CheckpointFile& file : in_.files()) plan_.files.push_back({.name = file.name});
    for (const StoredStack& stack : stored_.stacks()) add_whole(stack);
    for (const TensorEntry& entry : in_.entries()) {
      if (!stored_.is_part(entry)) add(entry);
    }
    for (const StoredLayer& layer : stored_.layers()) {
      if (!whole_.contains(layer.codes)) add_again(layer);
    }
    if (options_.head) untie();
    choice_.check(kQuantize);
    if (!in_.folder().empty()) check_float_experts(form, model_, choice_.float_expert());
    check_ignored();
    refuse_nothing();
    for (const StoredLayer& layer : stored_.layers()) choice_.saw(layer.name);
    for (std::string& name : choice_.absent()) kept_.push_back(std::move(name));
    if (calibration_ != nullptr) {
      calibrate(plan_, in_, calibration_, options_);
    }
    plan_.config =
        config_text(kQuantize, options_.scheme, kept_, outliers(),
                    !packed_ ? Packed::none
                    : plain_ ? Packed::experts
                             : Packed::all,
                    options_.static_scales ? Activations::tensor : Activations::token, heads_);
    for (std::string& warning :
         in_float_.warnings(kQuantize, "scheme", scheme_name(options_.scheme))) {
      plan_.warnings.push_back(std::move(warning));
    }
    if (options_.rotation != 0) {
      plan_.config.reset();
      plan_.identity += fmt::format("\nrotation {}", options_.rotation);
    }
    if (unrotated_ > 0) {
      plan_.warnings.push_back(
          fmt::format("quantize_file: rotation must divide the columns of layers that it rotates; "
                      "got {} that it does not, the first {} with {}",
                      unrotated_, in_quotes(first_unrotated_.first), first_unrotated_.second));
    }
    for (std::string& note : choice_.notes(kQuantize)) plan_.warnings.push_back(std::move(note));
    if (cut_ != nullptr) {
      plan_.warnings.push_back(fmt::format(
          "quantize_file: experts must be stored as [E, N, K], gate before up, for transformers' "
          "own class to load them as layers; got {} {} (octavo.torch.from_pretrained loads them, "
          "and llm-compressor writes such layers for vLLM)",
          in_quotes(cut_->name), shape_text(cut_->shape)));
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
  void refuse_quantized() const {
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

  // ComfyUI's files alone can say it, and a layer in them by itself.
  void check_rotation() const {
    const std::int32_t block = options_.rotation;
    if (block == 0) return;
    if (block != 16 && block != 64 && block != 256) {
      refuse(Code::invalid_argument, "quantize_file: rotation must be 16, 64 or 256; got {}",
             block);
    }
    if (options_.scheme != Scheme::int8_dynamic) {
      refuse(Code::unsupported,
             "quantize_file: scheme must be int8-dynamic for rotation (--rotate), since no reader "
             "of the others rotates activations; got {}",
             scheme_name(options_.scheme));
    }
    if (!in_.folder().empty()) {
      refuse(Code::unsupported,
             "quantize_file: rotation (--rotate) must be 0 for a folder, since readers of "
             "compressed-tensors (transformers, vLLM) do not rotate activations; a single file "
             "becomes one of ComfyUI's, whose do; got {}",
             block);
    }
    if (calibration_ != nullptr) {
      refuse(Code::unsupported,
             "quantize_file: rotation (--rotate) must be 0 beside a calibration, which is that of "
             "activations as they are; got {}",
             block);
    }
  }

  bool is_rotated(std::int64_t k) const {
    return options_.rotation != 0 && k % options_.rotation == 0;
  }

  // Heads are those of the table: names alone say nothing about what shares a weight.
  void check_head() const {
    if (!options_.head) return;
    if (!names_heads(options_.scheme)) {
      refuse(
          Code::unsupported,
          "quantize_file: scheme must be int8-dynamic, fp8-dynamic, int8-weight-only, "
          "fp8-weight-only or mxfp8 for head (--head), since readers of the others keep heads in "
          "float; got {}",
          scheme_name(options_.scheme));
    }
    if (model_.architecture != nullptr && !model_.architecture->ties.empty()) return;
    refuse(Code::unsupported,
           "quantize_file: head (--head) must be that of a class whose head is known (transformers "
           "{}, or a layout file's \"tied\"); got model_type {}",
           table_release(), in_quotes(model_.model_type));
  }

  bool is_head(const TensorEntry& entry) const {
    if (!options_.head || !is_float_matrix(entry)) return false;
    const auto found = model_.find(*layer_of(entry.name));
    return found && is_linear(found->kind) && model_.architecture->is_tied(found->module);
  }

  // Heads that share the embeddings' weight are in no file: they get a tensor of their own.
  void untie() {
    if (heads_.empty()) {
      for (const auto& [head, embedding] : model_.architecture->ties) add_tied(head, embedding);
    }
    if (!heads_.empty()) return;
    refuse(Code::invalid_argument,
           "quantize_file: head (--head) must be there, or share the embeddings' weight; got {} "
           "without either",
           model_.architecture->name);
  }

  void add_tied(const std::string& head, const std::string& embedding) {
    if (in_.folder().empty() || head.find('*') != std::string::npos) return;
    for (const TensorEntry& entry : in_.entries()) {
      if (!is_float_matrix(entry)) continue;
      const auto found = model_.find(*layer_of(entry.name));
      if (!found || found->module != embedding || ignore_.match(head)) continue;
      const MatrixPlace at = whole_matrix(entry);
      if (!goes_in_cells(head, at.n, at.k)) return;
      choice_.saw(head);
      heads_.push_back(head);
      plan_.unties = true;
      return add_layer(plan_.files[entry.file], {.name = head, .entry = &entry, .at = at});
    }
  }

  void add(const TensorEntry& entry) {
    FilePlan& file = plan_.files[entry.file];
    Treatment treated = choice_.of(entry);
    if (treated == Treatment::keep_layer && is_head(entry) &&
        !ignore_.match(*layer_of(entry.name))) {
      heads_.emplace_back(*layer_of(entry.name));
      treated = Treatment::quantize;
    }
    if (treated == Treatment::quantize) {
      const MatrixPlace at = place_of(entry);
      std::string layer(*layer_of(entry.name));
      if (!stays(layer) && goes_in_cells(entry.name, at.n, at.k)) {
        return add_layer(file, {.name = std::move(layer), .entry = &entry, .at = at});
      }
      treated = Treatment::keep_layer;
    }
    if (treated == Treatment::copy && (add_experts(file, entry) || add_biases(file, entry))) return;
    if (treated == Treatment::keep_layer) keep(*layer_of(entry.name));
    if (treated == Treatment::copy && looks_linear(entry) && !model_.find(entry.name)) {
      left_.push_back(&entry);
    }
    ++plan_.tensors_copied;
    file.copy(entry);
  }

  void add_layer(FilePlan& file, LayerPlan layer) {
    layer.recipe = &recipe_;
    const Outputs outputs = add_outputs(file, layer.name, layer.at.n, layer.at.k);
    layer.codes = outputs.codes;
    layer.scale = outputs.scale;
    layer.packed = outputs.packed;
    if (is_rotated(layer.at.k)) layer.rotation = options_.rotation;
    file.layers.push_back(std::move(layer));
  }

  struct Outputs {
    std::size_t codes = 0, scale = 0;  ///< in FilePlan::outputs
    bool packed = false;               ///< as LayerPlan's
  };

  // What a layer [n, k] is in the file that is written.
  Outputs add_outputs(FilePlan& file, const std::string& layer, std::int64_t n, std::int64_t k) {
    quantized_.emplace(layer, k);
    Outputs made;
    made.packed = recipe_.packs_all() || (recipe_.packs_experts() && packs_stacks() &&
                                          model_.is_of_stack(layer) && is_packed(layer, k));
    made.packed = made.packed && options_.rotation == 0;
    (made.packed ? packed_ : plain_) = true;
    if (made.packed) {
      made.codes = file.add({layer + ".weight_packed", "I32", {n, k / kCodesInWord}});
      const std::array<std::int64_t, 2> shape{n, k};
      const auto bytes = std::as_bytes(std::span(shape));
      file.constants.push_back(
          {file.add({layer + ".weight_shape", "I64", {2}}), {bytes.begin(), bytes.end()}});
    } else {
      made.codes = file.add({layer + ".weight", recipe_.code_type, {n, k}});
    }
    made.scale = file.add(scale_shape(recipe_, layer, n, k));
    add_format(file, layer);
    if (options_.rotation != 0) add_comfyui(file, layer, k);
    return made;
  }

  // transformers reads int8 experts in words alone, vLLM in bytes alone.
  bool packs_stacks() const { return options_.experts != Experts::separate; }

  // bitsandbytes' byte that says "row-major".
  void add_format(FilePlan& file, const std::string& layer) const {
    if (!recipe_.bitsandbytes) return;
    file.constants.push_back({file.add({layer + ".weight_format", "U8", {}}), {std::byte{0}}});
  }

  void add_comfyui(FilePlan& file, const std::string& layer, std::int64_t k) {
    const bool rotated = is_rotated(k);
    if (!rotated && unrotated_++ == 0) first_unrotated_ = {layer, k};
    const std::string text = comfyui_text(rotated ? options_.rotation : 0);
    const auto bytes = std::as_bytes(std::span(text));
    file.constants.push_back({file.add({layer + ".comfy_quant", "U8", {std::ssize(text)}}),
                              {bytes.begin(), bytes.end()}});
  }

  void keep(std::string_view layer) {
    choice_.stays(layer);
    for (std::string& name : choice_.kept_names(layer)) kept_.push_back(std::move(name));
  }

  // transformers loads folders.
  bool sizes_fit(std::int64_t n, std::int64_t k) const {
    if (recipe_.packs_all()) return k % kCodesInWord == 0;
    return in_.folder().empty() || cells_fit(recipe_.grid, n, k);
  }

  bool goes_in_cells(const std::string& name, std::int64_t n, std::int64_t k) {
    if (sizes_fit(n, k)) return true;
    in_float_.add_uneven(name, n, k, recipe_.packs_all() ? kCodesInWord : recipe_.grid.cols);
    return false;
  }

  bool is_left(std::string_view layer) const {
    const bool no_form = recipe_.bitsandbytes || (options_.scheme == Scheme::mxfp8 &&
                                                  options_.experts != Experts::separate);
    return no_form && model_.is_of_stack(layer);
  }
  bool stays(std::string_view layer) {
    if (!is_left(layer)) return false;
    in_float_.add_expert();
    return true;
  }

  // The weight [K, N] of transformers' Conv1D goes out as [N, K].
  MatrixPlace place_of(const TensorEntry& entry) const {
    const MatrixPlace stored = whole_matrix(entry);
    if (!model_.is_conv1d(*layer_of(entry.name))) return stored;
    check_conv1d(entry.name);
    return transposed(stored);
  }

  void check_conv1d(const std::string& tensor) const {
    if (recipe_.bitsandbytes) return;
    refuse_conv1d({kQuantize, "scheme", scheme_name(Scheme::llm_int8), scheme_name(options_.scheme),
                   "or --ignore it"},
                  tensor);
  }

  // A layer that is quantised already: codes anew of the values that it stands for, or, where it is
  // to be left alone or has no form in transformers, the values.
  void add_again(const StoredLayer& layer) {
    FilePlan& file = plan_.files[layer.codes->file];
    const TensorView codes = in_.weight(layer.name).codes.data;
    const std::int64_t n = codes.shape[0], k = codes.shape[1];
    const bool ignored = ignore_.match(layer.name);
    if (!ignored && model_.is_conv1d(layer.name)) check_conv1d(layer.name + ".weight");
    if (!ignored && !stays(layer.name) && goes_in_cells(layer.codes->name, n, k)) {
      const auto values = [&in = in_, name = layer.name] { return float_values(in.weight(name)); };
      add_layer(file, {.name = layer.name,
                       .entry = layer.codes,
                       .at = {.n = n, .k = k},
                       .values = StoredValues{values, layer.begin, layer.bytes}});
      return;
    }
    keep(layer.name);
    add_float_layer(file, in_, layer, model_dtype(in_));
  }

  // Stacked experts that are quantised already and stay in float for transformers' sake.
  void add_whole(const StoredStack& stack) {
    const std::string layer = names_in_stack(stack).front();
    const TensorView codes = in_.weight(layer).codes.data;
    const std::string& tensor = stack.codes->name;
    if (!stays(layer) && goes_in_cells(tensor, codes.shape[0], codes.shape[1])) return;
    whole_.insert(stack.codes);
    add_float_stack(plan_.files[stack.codes->file], in_, stack, model_dtype(in_));
  }

  // Stacked experts go out as one linear layer each, which is how checkpoints in 8 bits have them.
  bool add_experts(FilePlan& file, const TensorEntry& entry) {
    std::vector<ExpertLayer> layers = float_experts(in_, entry);
    if (layers.empty()) check_renamed(entry);
    if (layers.empty() || ignores(entry.name, layers) || stays(layers[0].layer) ||
        stays_whole(entry, layers[0].layer) ||
        !goes_in_cells(entry.name, layers[0].at.n, layers[0].at.k)) {
      return false;
    }
    if (!model_.find(entry.name) && cut_ == nullptr &&
        (layers[0].at.column_step != 1 || layers[0].rows.step != 1)) {
      cut_ = &entry;
    }
    for (ExpertLayer& layer : layers) {
      add_layer(file, {.name = std::move(layer.layer), .entry = &entry, .at = layer.at});
    }
    return true;
  }

  // Experts that the class keeps in one tensor: transformers makes no experts of layers apart.
  bool stays_whole(const TensorEntry& entry, const std::string& layer) const {
    if (!model_.find(entry.name) || options_.experts == Experts::separate) return false;
    const auto apart = model_.find(layer);
    if (apart && apart->kind == ModuleKind::expert) return false;
    if (options_.experts == Experts::in_float) return true;
    refuse(Code::unsupported,
           "quantize_file: experts (--experts) must be separate (a layer each: Octavo and vLLM "
           "load such a "
           "folder) or float (transformers loads it, too), since {} keeps them in one tensor, of "
           "which "
           "transformers loads no 8-bit form; got {} {}",
           model_.architecture->name, in_quotes(entry.name), shape_text(entry.shape));
  }

  // A stack under a name of the files' own: [E, N, K] is known of it, and not its halves.
  void check_renamed(const TensorEntry& entry) const {
    const auto layer = layer_of(entry.name);
    const std::string name(layer ? *layer : std::string_view(entry.name));
    const auto found = model_.find(name);
    const bool stack =
        found && entry.shape.size() == 3 &&
        (found->kind == ModuleKind::experts || found->kind == ModuleKind::interleaved_experts);
    const bool left = recipe_.bitsandbytes || options_.experts == Experts::in_float ||
                      ignore_.match(name) || ignore_.match(entry.name);
    if (!stack || left) return;
    refuse(Code::unsupported,
           "quantize_file: experts (--experts) must be float, since {} keeps them in one "
           "tensor, of which transformers loads no 8-bit form; got {} {}",
           model_.architecture->name, in_quotes(entry.name), shape_text(entry.shape));
  }

  bool ignores(const std::string& stack, const std::vector<ExpertLayer>& layers) const {
    return ignore_.match(stack) || std::ranges::any_of(layers, [&](const ExpertLayer& layer) {
             return ignore_.match(layer.layer);
           });
  }

  // Biases of stacked experts go with their layers.
  bool add_biases(FilePlan& file, const TensorEntry& entry) {
    std::string stack;
    std::vector<ExpertLayer> biases = expert_biases(in_, entry, stack);
    if (biases.empty() || !is_cut(stack)) return false;
    cut_biases(file, in_, entry, std::move(biases));
    ++plan_.tensors_copied;
    return true;
  }

  // Whether a stack's layers are written one by one: those that are quantised, now or before.
  bool is_cut(const std::string& stack) const {
    const auto stored = std::ranges::find(stored_.stacks(), stack, &StoredStack::prefix);
    if (stored != stored_.stacks().end()) return !whole_.contains(stored->codes);
    const TensorEntry* entry = in_.impl().header.find(stack);
    if (entry == nullptr) return false;
    const std::vector<ExpertLayer> layers = float_experts(in_, *entry);
    return !layers.empty() && !ignores(stack, layers) && !is_left(layers[0].layer) &&
           !stays_whole(*entry, layers[0].layer) && sizes_fit(layers[0].at.n, layers[0].at.k);
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
    const bool calibrated = calibration_ != nullptr && recipe_.bitsandbytes;
    return {threshold.value_or(kOutlierThreshold), options_.whole_columns,
            calibrated ? calibrated_columns(plan_, *calibration_, threshold) : lists};
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
  const ModelClass& model_;
  std::shared_ptr<const Calibration> calibration_;  ///< null: none
  bool packed_ = false, plain_ = false;  ///< whether layers are packed, whether others are not
  const TensorEntry* cut_ = nullptr;     ///< experts whose class in transformers reads no layers
  LeftInFloat in_float_;
  std::set<const TensorEntry*> whole_;  ///< quantised stacks that become one float tensor
  NamePatterns ignore_;
  LayerChoice choice_;
  WritePlan plan_{.operation = kQuantize};
  std::vector<std::string> kept_;                  ///< layers that stay in float
  std::vector<std::string> heads_;                 ///< output heads that are quantised
  std::vector<const TensorEntry*> left_;           ///< what may be layers and is copied
  std::map<std::string, std::int64_t> quantized_;  ///< layers, and their K
  std::int64_t unrotated_ = 0;                     ///< layers that the block does not divide
  std::pair<std::string, std::int64_t> first_unrotated_;
};

}  // namespace

WritePlan plan_quantization(const Checkpoint& in, const QuantizeFileOptions& options) {
  return QuantizePlanner(in, options).plan();
}

}  // namespace octavo::checkpoint
