// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/write/job.hpp"

#include <cmath>
#include <limits>
#include <utility>

#include "checkpoint/open/open_checkpoint.hpp"
#include "checkpoint/safetensors/folder.hpp"
#include "checkpoint/text/json_tree.hpp"
#include "checkpoint/text/sentence.hpp"

namespace octavo::checkpoint {
namespace {

constexpr JsonTree::Limits kJobLimits{.bytes = std::size_t{1} << 30,
                                      .levels = 6,
                                      .values = 80'000'000,
                                      .key_bytes = std::size_t{64} << 10};

std::string identity(const Checkpoint& in, const WritePlan& plan) {
  std::string all = plan.operation;
  all += plan.config.value_or("");
  all += plan.identity;
  for (const FilePlan& file : plan.files) {
    for (const TensorShape& output : file.outputs) all += output.dtype;
  }
  for (const InputFile& file : in.impl().inputs) all += file.identity();
  return all;
}

// An infinite SQNR (an exact layer) is null.
std::string layer_text(const LayerReport& layer) {
  std::string output_errors = "[]";
  if (layer.output_error) {
    output_errors = fmt::format("[{},{}]", json_number(layer.nearest_output_error.value_or(0)),
                                json_number(*layer.output_error));
  }
  return fmt::format(
      R"({{"name":{},"counts":[{},{},{},{},{}],"sqnr_db":{},"max_error":{},"output_errors":{}}})",
      json_string("quantize_file", layer.name), layer.n, layer.k, layer.bytes_before,
      layer.bytes_after, layer.saturated,
      std::isfinite(layer.sqnr_db) ? json_number(layer.sqnr_db) : "null",
      json_number(layer.max_error), output_errors);
}

LayerReport layer_report_of(const JsonValue& value) {
  LayerReport layer;
  layer.name = value["name"].text();
  std::int64_t* const counts[]{&layer.n, &layer.k, &layer.bytes_before, &layer.bytes_after,
                               &layer.saturated};
  std::size_t i = 0;
  for (const JsonValue count : value["counts"].items()) {
    if (i < std::size(counts)) *counts[i++] = count.integer();
  }
  const JsonValue sqnr = value["sqnr_db"];
  layer.sqnr_db = sqnr.is_null() ? std::numeric_limits<double>::infinity() : sqnr.number();
  layer.max_error = value["max_error"].number();
  for (const JsonValue error : value["output_errors"].items()) {
    (layer.nearest_output_error ? layer.output_error : layer.nearest_output_error) = error.number();
  }
  return layer;
}

}  // namespace

Job::Job(const OutputFolder& out, const Checkpoint& in, const WritePlan& plan)
    : operation_(plan.operation), out_(out), identity_(identity(in, plan)) {
  std::vector<std::string> there = out.names();
  std::erase_if(there, [](const std::string& name) {  // what a writer left that was killed
    return name.starts_with(kPrivatePrefix) && name != kJobName;
  });
  if (there.empty()) return;
  if (const auto text = small_text(out.at(kJobName), kJobLimits.bytes)) {
    read(*text);
    return;
  }
  refuse(Code::invalid_argument, "{}: folder {} must be new or empty; got {} files, the first {}",
         operation_, in_quotes(out.path()), there.size(), in_quotes(there[0]));
}

void Job::read(const std::string& text) {
  JsonTree tree;
  if (tree.parse(text, kJobLimits) != JsonTree::Problem::none ||
      tree.root()["identity"].text() != identity_) {
    refuse(Code::invalid_argument,
           "{}: folder {} must be new or empty, or hold what a run with the same input "
           "and options has begun; got another one's: remove the folder",
           operation_, in_quotes(out_.path()));
  }
  for (const JsonValue file : tree.root()["files"].items()) {
    std::vector<LayerReport> layers;
    for (const JsonValue layer : file.items()) layers.push_back(layer_report_of(layer));
    done_.emplace(file.key(), std::move(layers));
  }
}

std::string Job::text() const {
  std::string files;
  for (const auto& [name, layers] : done_) {
    files += fmt::format("{}{}:[", files.empty() ? "" : ",", json_string("quantize_file", name));
    for (const LayerReport& layer : layers) {
      files += layer_text(layer);
      files += ',';
    }
    if (!layers.empty()) files.pop_back();
    files += ']';
  }
  return fmt::format(R"({{"identity":{},"files":{{{}}}}})", json_string("quantize_file", identity_),
                     files);
}

void Job::save() const { out_.write(kJobName, text()); }

void Job::begin() const { save(); }

std::optional<std::vector<LayerReport>> Job::finished(std::string_view file,
                                                      const FileLayout& layout) const {
  const auto found = done_.find(file);
  if (found == done_.end() || !out_.holds(file, layout)) return std::nullopt;
  return found->second;
}

void Job::finish(std::string_view file, std::span<const LayerReport> layers) {
  done_.insert_or_assign(std::string(file), std::vector<LayerReport>(layers.begin(), layers.end()));
  save();
}

void Job::end() const noexcept { out_.remove(kJobName); }

void Job::undo() noexcept {
  for (const auto& [name, layers] : done_) out_.remove(name);
  done_.clear();
  end();
}

}  // namespace octavo::checkpoint
