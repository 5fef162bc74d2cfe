// SPDX-License-Identifier: Apache-2.0
// quantize_file: reads one tensor, quantises it or not, writes it, and goes on.
#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <utility>

#include "checkpoint/config_text.hpp"
#include "checkpoint/declaration.hpp"
#include "checkpoint/file.hpp"
#include "checkpoint/impl.hpp"
#include "checkpoint/layer_filter.hpp"
#include "checkpoint/layer_report.hpp"
#include "checkpoint/outlier_columns.hpp"
#include "checkpoint/quantization_config.hpp"
#include "checkpoint/recipe.hpp"
#include "checkpoint/safetensors_writer.hpp"
#include "checkpoint/sentence.hpp"

namespace octavo {
namespace {

using namespace checkpoint;

/// One run over one file. Tensors are made when the writer asks for them, in the order of the
/// input; a layer's scales wait in memory for the moment between the codes and themselves.
class FileQuantizer {
 public:
  FileQuantizer(const std::string& in, const QuantizeFileOptions& options)
      : in_(open_checkpoint(in)),
        recipe_(recipe_of("quantize_file", options.scheme)),
        options_(options),
        ignore_("quantize_file", Code::invalid_argument, options.ignore) {
    const std::vector<std::string> quantized = in_.quantized_layers();
    if (!quantized.empty()) {
      refuse(Code::invalid_argument,
             "quantize_file: file {} must hold float weights; got {} quantised layers, the first "
             "{}",
             in_quotes(in), quantized.size(), in_quotes(quantized[0]));
    }
    for (const TensorEntry& entry : in_.entries()) {
      total_ += entry.end - entry.begin;
      plan(entry);
    }
    check_ignored();
    if (quantized_.empty()) {
      refuse(Code::invalid_argument,
             "quantize_file: file {} must hold linear layers to quantise (float tensors [N, K] "
             "named *.weight that are no embeddings, norms or output heads); got none among {} "
             "tensors, {} of them left alone",
             in_quotes(in), in_.entries().size(), kept_.size());
    }
    plan_outliers();
  }

  QuantizeReport run(const std::string& out) {
    std::map<std::string, std::string> metadata = in_.metadata();
    metadata[kConfigKey] = config_text("quantize_file", options_.scheme, kept_, outliers_);
    report_.file_bytes_before = in_.file_bytes();
    report_.warnings =
        declaration_warnings("quantize_file", out, options_.scheme, metadata[kConfigKey]);
    if (!left_.empty()) {
      report_.warnings.push_back(fmt::format(
          "quantize_file: linear layers must be 2-D tensors named *.weight to be quantised; got {} "
          "that may be some and stay in float, the first {} {}",
          left_.size(), in_quotes(left_[0]->name), shape_text(left_[0]->shape)));
    }
    write_file(out, std::move(tensors_), metadata, options_.temporary);
    report_.file_bytes_after = file_bytes(out.c_str());  // the file is in place: nothing may fail
    return std::move(report_);
  }

 private:
  void plan(const TensorEntry& entry) {
    const Treatment treated = treatment(entry, ignore_);
    if (treated == Treatment::quantise) return plan_layer(entry);
    if (treated == Treatment::keep_layer) kept_.emplace_back(*layer_of(entry.name));
    if (treated == Treatment::copy && looks_linear(entry)) left_.push_back(&entry);
    ++report_.tensors_copied;
    tensors_.push_back({entry.name, entry.dtype, entry.shape, [this, &entry] {
                          std::vector<std::byte> bytes = in_.bytes(entry.name);
                          advance(entry);
                          return bytes;
                        }});
  }

  void plan_layer(const TensorEntry& entry) {
    const std::string layer(*layer_of(entry.name));
    quantized_.emplace(layer, entry.shape[1]);
    const auto scale = std::make_shared<Tensor>();
    tensors_.push_back({entry.name, recipe_.code_type, entry.shape, [this, &entry, layer, scale] {
                          const Tensor weight = in_.tensor(entry.name);
                          const Written written = recipe_.quantise(weight);
                          report_.layers.push_back(
                              measure("quantize_file", layer, weight, written.codes));
                          *scale = written.scale;
                          advance(entry);
                          return bytes_of(written.codes.data);
                        }});
    for (TensorToWrite& beside : tensors_beside(recipe_, layer, entry.shape[0], entry.shape[1],
                                                [scale] { return *scale; })) {
      tensors_.push_back(std::move(beside));
    }
  }

  // A pattern that matches nothing is a misspelt one, and a layer would be quantised for it.
  void check_ignored() const {
    std::vector<std::string> layers;
    for (const TensorEntry& entry : in_.entries()) {
      if (const auto layer = layer_of(entry.name)) layers.emplace_back(*layer);
    }
    for (const std::string& pattern : options_.ignore) {
      const NamePatterns one("quantize_file", Code::invalid_argument, {pattern});
      if (std::ranges::any_of(layers, [&](const std::string& name) { return one.match(name); })) {
        continue;
      }
      refuse(Code::invalid_argument, "quantize_file: ignore must name layers of the file; got {}{}",
             in_quotes(pattern), nearest_name(layers, pattern));
    }
  }

  void plan_outliers() {
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
    outliers_ = {threshold.value_or(kOutlierThreshold), options_.whole_columns, lists};
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

  void advance(const TensorEntry& entry) {
    done_ += entry.end - entry.begin;
    if (options_.progress) options_.progress(done_, total_);
  }

  Checkpoint in_;
  const Recipe& recipe_;
  const QuantizeFileOptions& options_;
  NamePatterns ignore_;
  std::vector<TensorToWrite> tensors_;
  std::vector<std::string> kept_;                  ///< layers left alone
  std::vector<const TensorEntry*> left_;           ///< what may be layers, too
  std::map<std::string, std::int64_t> quantized_;  ///< the others, and their K
  OutlierConfig outliers_;
  QuantizeReport report_;
  std::int64_t done_ = 0, total_ = 0;
};

}  // namespace

QuantizeReport quantize_file(const std::string& in, const std::string& out,
                             const QuantizeFileOptions& options) {
  return at_edge("quantize_file", [&] { return FileQuantizer(in, options).run(out); });
}

}  // namespace octavo
