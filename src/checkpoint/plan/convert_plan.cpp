// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/plan/convert_plan.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/declared/kv_cache.hpp"
#include "checkpoint/declared/layer_filter.hpp"
#include "checkpoint/layers/foreign_layers.hpp"
#include "checkpoint/layers/layer_choice.hpp"
#include "checkpoint/layers/layer_tensors.hpp"
#include "checkpoint/models/loadable.hpp"
#include "checkpoint/open/open_checkpoint.hpp"
#include "checkpoint/open/plain_fp8.hpp"
#include "checkpoint/plan/convert_config.hpp"
#include "checkpoint/safetensors/dtype.hpp"
#include "checkpoint/steps/convert_layer.hpp"
#include "checkpoint/steps/float_layers.hpp"
#include "checkpoint/steps/other_tensors.hpp"
#include "checkpoint/text/sentence.hpp"

namespace octavo {
namespace {

using namespace checkpoint;

constexpr std::array<std::string_view, 4> kFormatNames{"compressed-tensors", "fp8", "fp8-block",
                                                       "bitsandbytes"};

Readers readers_of(Format format) {
  if (format == Format::bitsandbytes) return Readers::int8_modules;
  return format == Format::compressed_tensors ? Readers::decompress : Readers::fp8_modules;
}

class ConvertPlanner {
 public:
  ConvertPlanner(const Checkpoint& in, Format format, bool keep_static)
      : in_(in),
        format_(format),
        keep_static_(keep_static),
        tensors_(in),
        ignore_(kConvertFile, Code::invalid_argument, {}),
        choice_(in, ignore_, readers_of(format), true),
        config_(format) {}

  WritePlan plan() {
    const WrittenForm form = written_form();
    if (!in_.folder().empty()) check_class_loads(form, in_.impl().model());
    add_foreign();
    std::set<const TensorEntry*> whole;
    std::set<std::string> cut;
    for (const StoredStack& stack : tensors_.stacks()) {
      if (stays(names_in_stack(stack).front(), stack.codes->name)) {
        whole.insert(stack.codes);
      } else {
        cut.insert(stack.prefix);
      }
    }
    const auto is_value = [this](const TensorEntry& entry) {
      return is_plain_fp8(in_.impl(), entry);
    };
    plan_ = plan_of_others(kConvertFile, in_, tensors_, cut, is_value);
    const DType dtype = model_dtype(in_);
    for (const TensorEntry& entry : in_.entries()) {
      if (!is_value(entry) || tensors_.is_part(entry)) continue;
      add_float_tensor(file_of(&entry), in_, entry, dtype);
    }
    for (const StoredStack& stack : tensors_.stacks()) {
      if (whole.contains(stack.codes)) add_float_stack(file_of(stack.codes), in_, stack, dtype);
    }
    for (const TensorEntry& entry : in_.entries()) {
      if (tensors_.is_part(entry)) continue;
      const bool linear = choice_.of(entry) == Treatment::keep_layer;
      if (linear || is_float_matrix(entry)) keep(*layer_of(entry.name));
    }
    const std::span<const StoredLayer> layers(tensors_.layers()), alone = tensors_.alone();
    for (const StoredLayer& layer : alone) {
      check_conv1d(layer.name);
      const bool matrix = !is_convolution(in_, layer);
      if (!matrix) losses_["convolutions are left in float"].push_back(layer.name);
      if (!matrix || stays(layer.name, layer.codes->name)) {
        keep(layer.name);
        add_float_layer(file_of(layer.codes), in_, layer, dtype);
      } else {
        add(layer);
      }
    }
    for (const StoredLayer& layer : layers.subspan(alone.size())) {
      if (!whole.contains(layer.codes)) add(layer);
    }
    if (format_ == Format::fp8 && config_.mixes_static()) {
      return ConvertPlanner(in_, format_, false).plan();
    }
    if (config_.empty()) {
      refuse(Code::invalid_argument,
             "{}: {} must hold quantised layers that {} has a form for in transformers; got {}, "
             "all of which would be left in float (octavo dequantize)",
             kConvertFile, in_quotes(in_.path()), format_name(format_), tensors_.layers().size());
    }
    if (!in_.folder().empty()) {
      check_float_experts(form, in_.impl().model(), choice_.float_expert());
    }
    add_declared();
    carry_kv_cache();
    plan_.config = config_.text(kept_);
    warn();
    return std::move(plan_);
  }

 private:
  // Layers that are not read: compressed-tensors has a place for them and their own group.
  void add_foreign() {
    foreign_ = take_foreign(kConvertFile, in_, tensors_);
    for (const ForeignLayer& layer : foreign_) {
      const std::string group =
          format_ == Format::compressed_tensors ? declared_group(in_, layer.name) : "";
      if (group.empty()) {
        refuse(Code::unsupported,
               "{}: layer {} must have a form in {}; got one that is neither read nor declared by "
               "compressed-tensors for compressed-tensors: {}",
               kConvertFile, in_quotes(layer.name), format_name(format_), layer.reason);
      }
      config_.add_declared(layer.name, group);
    }
  }

  FilePlan& file_of(const TensorEntry* entry) { return plan_.files[entry->file]; }

  WrittenForm written_form() const {
    const bool int8 = format_ == Format::compressed_tensors &&
                      std::ranges::any_of(in_.entries(), [](const TensorEntry& entry) {
                        return entry.dtype == "I8" || entry.dtype == "I32";
                      });
    return {kConvertFile, "format", format_name(format_), format_ == Format::bitsandbytes, int8};
  }

  void keep(std::string_view layer) {
    choice_.stays(layer);
    for (std::string& name : choice_.kept_names(layer)) kept_.push_back(std::move(name));
  }

  // What the source leaves in float, and heads that no file has: readers look for their names.
  void add_declared() {
    for (const StoredLayer& layer : tensors_.layers()) choice_.saw(layer.name);
    std::vector<std::string> names = choice_.absent();
    for (std::string& name : in_.impl().config().left_alone()) {
      names.push_back(listed_for(readers_of(format_), std::move(name)));
    }
    std::set<std::string> known(kept_.begin(), kept_.end());
    for (std::string& name : names) {
      if (known.insert(name).second) kept_.push_back(std::move(name));
    }
  }

  // Scales of the KV cache were copied; compressed-tensors has its own names for them.
  void carry_kv_cache() {
    const std::string& scheme = in_.impl().config().kv_cache_scheme();
    const std::string& algorithm = in_.impl().config().kv_cache_algorithm();
    if (!algorithm.empty()) {
      plan_.warnings.push_back(
          fmt::format("convert_file: the KV cache's quantisation must be of 8 bits to be declared; "
                      "got {}: its scales are copied, its scheme is not",
                      in_quotes(algorithm)));
    }
    if (format_ != Format::compressed_tensors) {
      if (scheme.empty()) return;
      plan_.warnings.push_back(
          fmt::format("convert_file: the KV cache's quantisation must be declared in format "
                      "compressed-tensors; got {}, which has no field for it: its scales are "
                      "copied, its scheme {} is not",
                      format_name(format_), scheme));
      return;
    }
    config_.set_kv_cache_scheme(scheme);
    for (FilePlan& file : plan_.files) {
      for (const CopyPlan& copied : file.copies) {
        TensorShape& output = file.outputs[copied.output];
        output.name = kv_cache_name(output.name);
      }
    }
  }

  // A layer of which the format has no form that transformers loads, and quantize_file makes none.
  bool stays(const std::string& layer, const std::string& tensor) {
    const auto found = in_.impl().model().find(layer);
    if (found && found->kind == ModuleKind::embedding) return true;
    if (found && stays_for(readers_of(format_), found->kind)) return true;
    if (format_ == Format::bitsandbytes && in_.impl().model().is_of_stack(layer)) {
      in_float_.add_expert();
      return true;
    }
    if (format_ != Format::fp8_block || in_.folder().empty()) return false;
    const TensorView codes = in_.weight(layer).codes.data;
    if (blocks_fit(codes.shape[0], codes.shape[1])) return false;
    in_float_.add_uneven(tensor, codes.shape[0], codes.shape[1], kBlock);
    return true;
  }

  // bitsandbytes' layers have the weight of a Conv1D as [N, K].
  void check_conv1d(const std::string& layer) const {
    if (format_ == Format::bitsandbytes || !in_.impl().model().is_conv1d(layer)) return;
    refuse_conv1d({kConvertFile, "format", format_name(Format::bitsandbytes), format_name(format_),
                   "octavo dequantize writes floats"},
                  layer + ".weight");
  }

  void add(const StoredLayer& layer) {
    FilePlan& file = file_of(layer.codes);
    Converted made = convert_layer(layer.name, in_.weight(layer.name), format_, keep_static_);
    for (std::string& lost : made.lost) losses_[std::move(lost)].push_back(layer.name);
    config_.add(layer.name, made.weight);
    MadePlan& plan = file.made.emplace_back();
    plan.entry = layer.codes;
    plan.begin = layer.begin;
    plan.bytes = layer.bytes;
    for (TensorShape& shape : made.shapes) plan.outputs.push_back(file.add(std::move(shape)));
    plan.make = [&in = in_, name = layer.name, format = format_,
                 keep_static = keep_static_](LayerReport&) {
      return convert_layer(name, in.weight(name), format, keep_static).tensors;
    };
  }

  void warn() {
    if (!foreign_.empty()) {
      plan_.warnings.push_back(left_as_stored(kConvertFile, foreign_, true));
    }
    for (std::string& warning : in_float_.warnings(kConvertFile, "format", format_name(format_))) {
      plan_.warnings.push_back(std::move(warning));
    }
    for (const auto& [what, layers] : losses_) {
      plan_.warnings.push_back(
          fmt::format("convert_file: {} layers are not as they were in {}: {} (the "
                      "first: {})",
                      layers.size(), format_name(format_), what, in_quotes(layers[0])));
    }
  }

  const Checkpoint& in_;
  Format format_;
  bool keep_static_;
  std::vector<ForeignLayer> foreign_;
  LayerTensors tensors_;
  NamePatterns ignore_;  ///< none
  LayerChoice choice_;
  ConvertedConfig config_;
  LeftInFloat in_float_;
  std::map<std::string, std::vector<std::string>> losses_;  ///< layers by what they lose
  std::vector<std::string> kept_;                           ///< layers that are in float
  WritePlan plan_{.operation = kConvertFile};
};

}  // namespace

WritePlan checkpoint::plan_conversion(const Checkpoint& in, Format format) {
  return ConvertPlanner(in, format, true).plan();
}

std::string_view format_name(Format format) noexcept {
  return kFormatNames[std::min(static_cast<std::size_t>(format), kFormatNames.size() - 1)];
}

std::optional<Format> format_from_name(std::string_view name) noexcept {
  const auto found = std::ranges::find(kFormatNames, name);
  if (found == kFormatNames.end()) return std::nullopt;
  return static_cast<Format>(found - kFormatNames.begin());
}

}  // namespace octavo
