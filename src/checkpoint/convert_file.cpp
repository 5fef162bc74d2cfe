// SPDX-License-Identifier: Apache-2.0
// convert_file: every quantised layer in the terms of another format.
#include <algorithm>
#include <array>
#include <map>
#include <string>

#include "checkpoint/convert_config.hpp"
#include "checkpoint/convert_layer.hpp"
#include "checkpoint/impl.hpp"
#include "checkpoint/layer_filter.hpp"
#include "checkpoint/layer_tensors.hpp"
#include "checkpoint/loadable.hpp"
#include "checkpoint/run.hpp"
#include "checkpoint/safetensors_dtype.hpp"
#include "checkpoint/sentence.hpp"

namespace octavo {
namespace {

using namespace checkpoint;

constexpr std::array<std::string_view, 4> kFormatNames{"compressed-tensors", "fp8", "fp8-block",
                                                       "bitsandbytes"};

bool stays_in_float(const TensorEntry& entry) {
  return layer_of(entry.name) && entry.shape.size() == 2 && is_wide(dtype_of_name(entry.dtype));
}

// bitsandbytes' layers have the weight of a Conv1D as [N, K].
void check_conv1d(const Checkpoint& in, const std::string& layer, Format format) {
  if (format == Format::bitsandbytes || !in.impl().layout().is_conv1d(layer)) return;
  refuse_conv1d({kConvertFile, "format", format_name(Format::bitsandbytes), format_name(format),
                 "octavo dequantize writes floats"},
                layer + ".weight");
}

void warn_of_losses(const std::map<std::string, std::vector<std::string>>& losses, Format format,
                    Plan& plan) {
  for (const auto& [what, layers] : losses) {
    plan.warnings.push_back(
        fmt::format("convert_file: {} layers are not as they were in {}: {} (the "
                    "first: {})",
                    layers.size(), format_name(format), what, in_quotes(layers[0])));
  }
}

Plan plan_of(const Checkpoint& in, Format format, bool keep_static) {
  const LayerTensors tensors(in);
  Plan plan = plan_of_others(kConvertFile, in, tensors, Stacks::are_cut);
  std::vector<std::string> kept;
  for (const TensorEntry& entry : in.entries()) {
    if (!tensors.is_part(entry) && stays_in_float(entry)) {
      kept.emplace_back(*layer_of(entry.name));
    }
  }
  ConvertedConfig config(format);
  std::map<std::string, std::vector<std::string>> losses;
  for (const StoredLayer& layer : tensors.layers()) {
    check_conv1d(in, layer.name, format);
    Converted made = convert_layer(layer.name, in.weight(layer.name), format, keep_static);
    for (std::string& lost : made.lost) losses[std::move(lost)].push_back(layer.name);
    config.add(layer.name, made.weight);
    FilePlan& file = plan.files[layer.codes->file];
    MadePlan& plan_of_layer = file.made.emplace_back();
    plan_of_layer.entry = layer.codes;
    plan_of_layer.begin = layer.begin;
    plan_of_layer.bytes = layer.bytes;
    for (TensorShape& shape : made.shapes)
      plan_of_layer.outputs.push_back(file.add(std::move(shape)));
    plan_of_layer.make = [&in, name = layer.name, format, keep_static](LayerReport&) {
      return convert_layer(name, in.weight(name), format, keep_static).tensors;
    };
  }
  if (format == Format::fp8 && config.mixes_static()) return plan_of(in, format, false);
  plan.config = config.text(kept);
  warn_of_losses(losses, format, plan);
  return plan;
}

}  // namespace

std::string_view format_name(Format format) noexcept {
  return kFormatNames[std::min(static_cast<std::size_t>(format), kFormatNames.size() - 1)];
}

std::optional<Format> format_from_name(std::string_view name) noexcept {
  const auto found = std::ranges::find(kFormatNames, name);
  if (found == kFormatNames.end()) return std::nullopt;
  return static_cast<Format>(found - kFormatNames.begin());
}

QuantizeReport convert_file(const std::string& in, const std::string& out,
                            const ConvertFileOptions& options) {
  return at_edge(kConvertFile, [&] {
    const Checkpoint opened = open_checkpoint(in);
    return carry_out(opened, out, plan_of(opened, options.format, true),
                     {options.threads, options.progress, options.at, options.temporary});
  });
}

}  // namespace octavo
