// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/calibrated/calibration.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <optional>
#include <set>
#include <span>
#include <string_view>
#include <utility>

#include "checkpoint/dialects/expert_layers.hpp"
#include "checkpoint/open/open_checkpoint.hpp"
#include "checkpoint/text/json_tree.hpp"
#include "checkpoint/text/sentence.hpp"

namespace octavo::checkpoint {
namespace {

constexpr const char* kKey = "octavo_calibration";
constexpr std::int64_t kVersion = 1;
constexpr std::string_view kCodes[]{"int8", "float8_e4m3fn"};  // that static scales are for
constexpr JsonTree::Limits kCalibrationLimits{
    .bytes = std::size_t{64} << 20, .levels = 4, .values = 8'000'000, .key_bytes = 65536};

bool all_finite(const std::vector<float>& values) {
  return std::ranges::all_of(values, [](float v) { return std::isfinite(v); });
}

/// "x.experts.up_proj" of "x.experts.3.up_proj"; nothing for a layer that is no expert's.
std::optional<std::string> all_experts(const std::string& layer) {
  for (StackOfLayer& place : stacks_of_layer(layer)) {
    if (place.stack.find(".experts.") != std::string::npos) return std::move(place.stack);
  }
  return std::nullopt;
}

}  // namespace

float CalibratedLayer::absmax(std::int64_t column) const noexcept {
  const auto i = static_cast<std::size_t>(column);
  return std::max(std::fabs(low[i]), std::fabs(high[i]));
}

Calibration::Calibration(const std::string& path, std::string operation)
    : operation_(std::move(operation)), file_(open_checkpoint(path)) {
  const auto text = file_.metadata().find(kKey);
  if (text == file_.metadata().end()) {
    refuse_file(
        fmt::format("have metadata '{}', as octavo.torch.calibrate(...).save writes it; got "
                    "none",
                    kKey));
  }
  JsonTree tree;
  if (tree.parse(text->second, kCalibrationLimits) != JsonTree::Problem::none ||
      !tree.root().is_object()) {
    refuse_file(
        fmt::format("have a JSON object as metadata '{}'; got {}", kKey, in_quotes(text->second)));
  }
  const JsonValue version = tree.root()["version"];
  if (!version.is_integer() || version.integer() != kVersion) {
    refuse_file(
        fmt::format("have '{}'.version {}; got {}", kKey, kVersion, in_quotes(version.spelled())));
  }
  const JsonValue layers = tree.root()["layers"], norms = tree.root()["norms"];
  if (!layers.is_object() || !norms.is_object()) {
    refuse_file(fmt::format("have objects as '{}'.layers and .norms; got {} and {}", kKey,
                            in_quotes(layers.spelled()), in_quotes(norms.spelled())));
  }
  for (const JsonValue layer : layers.items()) {
    const JsonValue threshold = layer["threshold"], hessian = layer["hessian"];
    if (!threshold.is_number() || !std::isfinite(threshold.number()) || threshold.number() < 0) {
      refuse_file(fmt::format("have a threshold not below 0 for layer {}; got {}",
                              in_quotes(layer.key()), in_quotes(threshold.spelled())));
    }
    const JsonValue code = layer["code"];
    if (!code.is_null() && std::ranges::find(kCodes, code.text()) == std::end(kCodes)) {
      refuse_file(fmt::format("have {} as the code of layer {}; got {}", fmt::join(kCodes, " or "),
                              in_quotes(layer.key()), in_quotes(code.spelled())));
    }
    if (!hessian.is_null() && !hessian.is_text()) {
      refuse_file(fmt::format("name the Hessian of layer {} by a string; got {}",
                              in_quotes(layer.key()), in_quotes(hessian.spelled())));
    }
    add_layer(std::string(layer.key()), static_cast<float>(threshold.number()),
              std::string(hessian.text()));
  }
  std::set<std::string, std::less<>> fed_already;
  for (const JsonValue norm : norms.items()) {
    FedLayers fed{std::string(norm.key()), {}};
    if (!norm.is_array()) {
      refuse_file(fmt::format("have a list of layers behind norm {}; got {}", in_quotes(fed.norm),
                              in_quotes(norm.spelled())));
    }
    for (const JsonValue layer : norm.items()) {
      if (!layer.is_text() || !fed_already.emplace(layer.text()).second) {
        refuse_file(fmt::format("name each layer behind norms once; got {} behind {}",
                                in_quotes(layer.spelled()), in_quotes(fed.norm)));
      }
      fed.layers.emplace_back(layer.text());
    }
    add_norm(std::move(fed));
  }
}

void Calibration::refuse_file(const std::string& what) const {
  refuse(Code::corrupt_data, "{}: calibration {} must {}", operation_, in_quotes(path()), what);
}

std::vector<float> Calibration::columns(const std::string& layer, const char* field) const {
  const std::string name = layer + "." + field;
  if (!file_.contains(name)) {
    refuse_file(fmt::format("have tensor {}; got none", in_quotes(name)));
  }
  const TensorEntry& entry = file_.impl().entry(operation_.c_str(), name);
  if (entry.dtype != "F32" || entry.shape.size() != 1 || entry.shape[0] == 0) {
    refuse_file(fmt::format("have F32 [K] as tensor {}; got {} {}", in_quotes(name), entry.dtype,
                            shape_text(entry.shape)));
  }
  std::vector<float> values(static_cast<std::size_t>(entry.shape[0]));
  file_.impl().read(entry, 0, std::as_writable_bytes(std::span(values)));
  if (!all_finite(values)) {
    refuse_file(
        fmt::format("have finite values in tensor {}; got NaN or infinity", in_quotes(name)));
  }
  return values;
}

void Calibration::add_layer(const std::string& name, float threshold, std::string hessian) {
  CalibratedLayer layer{.low = columns(name, "column_min"),
                        .high = columns(name, "column_max"),
                        .smooth = columns(name, "smooth"),
                        .threshold = threshold,
                        .hessian = std::move(hessian)};
  if (layer.high.size() != layer.low.size() || layer.smooth.size() != layer.low.size()) {
    refuse_file(
        fmt::format("have column_min, column_max and smooth of one length for layer {}; got "
                    "{}, {} and {}",
                    in_quotes(name), layer.low.size(), layer.high.size(), layer.smooth.size()));
  }
  for (std::size_t i = 0; i < layer.low.size(); ++i) {
    if (layer.low[i] > layer.high[i]) {
      refuse_file(
          fmt::format("have column_min not above column_max for layer {}; got {} and {} in "
                      "column {}",
                      in_quotes(name), layer.low[i], layer.high[i], i));
    }
    if (!(layer.smooth[i] > 0.0F)) {
      refuse_file(fmt::format("have factors above 0 as tensor {}; got {} in column {}",
                              in_quotes(name + ".smooth"), layer.smooth[i], i));
    }
  }
  if (!layer.hessian.empty()) {
    if (!file_.contains(layer.hessian)) {
      refuse_file(fmt::format("have tensor {}, the Hessian of layer {}; got none",
                              in_quotes(layer.hessian), in_quotes(name)));
    }
    const TensorEntry& entry = file_.impl().entry(operation_.c_str(), layer.hessian);
    const std::vector<std::int64_t> square{layer.k(), layer.k()};
    if (entry.dtype != "F32" || entry.shape != square) {
      refuse_file(fmt::format("have F32 {} as tensor {}, the Hessian of layer {}; got {} {}",
                              shape_text(square), in_quotes(layer.hessian), in_quotes(name),
                              entry.dtype, shape_text(entry.shape)));
    }
  }
  if (const auto experts = all_experts(name)) experts_[*experts].push_back(name);
  layers_.emplace(name, std::move(layer));
}

void Calibration::add_norm(FedLayers fed) {
  const CalibratedLayer* first = nullptr;
  for (const std::string& name : fed.layers) {
    const auto found = layers_.find(name);
    if (found == layers_.end()) {
      refuse_file(fmt::format("have all layers behind norm {}; got none of the name {}",
                              in_quotes(fed.norm), in_quotes(name)));
    }
    if (first == nullptr) first = &found->second;
    if (found->second.smooth != first->smooth) {
      refuse_file(
          fmt::format("have the same factors for all layers behind norm {}; got others for "
                      "{}",
                      in_quotes(fed.norm), in_quotes(name)));
    }
  }
  if (first == nullptr) {
    refuse_file(fmt::format("have layers behind norm {}; got an empty list", in_quotes(fed.norm)));
  }
  norms_.push_back(std::move(fed));
}

const CalibratedLayer& Calibration::layer(const std::string& name, std::int64_t k) const {
  const auto found = layers_.find(name);
  if (found == layers_.end()) {
    std::vector<std::string> names;
    for (const auto& row : layers_) names.push_back(row.first);
    refuse(Code::invalid_argument,
           "{}: calibration {} must have layer {}, which is quantised; got none{} (or --ignore it)",
           operation_, in_quotes(path()), in_quotes(name), nearest_name(names, name));
  }
  if (found->second.k() != k) {
    refuse(Code::invalid_argument, "{}: calibration {} must have {} columns for layer {}; got {}",
           operation_, in_quotes(path()), k, in_quotes(name), found->second.k());
  }
  return found->second;
}

std::vector<const CalibratedLayer*> Calibration::stand_ins(const std::string& name,
                                                           std::int64_t k) const {
  if (layers_.contains(name)) return {};
  const auto experts = all_experts(name);
  const auto found = experts ? experts_.find(*experts) : experts_.end();
  if (found == experts_.end()) return {};
  std::vector<const CalibratedLayer*> others;
  for (const std::string& other : found->second) others.push_back(&layer(other, k));
  return others;
}

const std::string& Calibration::hessian(const std::string& name, std::int64_t k) const {
  const std::string& tensor = layer(name, k).hessian;
  if (tensor.empty()) {
    refuse(Code::invalid_argument,
           "{}: calibration {} must have the Hessian of layer {} "
           "(octavo.torch.calibrate(..., hessian=True)); got none",
           operation_, in_quotes(path()), in_quotes(name));
  }
  return tensor;
}

std::vector<double> Calibration::read_hessian(const std::string& tensor, std::int64_t k) const {
  const TensorEntry& entry = file_.impl().entry(operation_.c_str(), tensor);
  const auto width = static_cast<std::size_t>(k);
  std::vector<double> lower(width * width);
  std::vector<float> row(width);
  for (std::size_t i = 0; i < width; ++i) {
    file_.impl().read(entry, static_cast<std::int64_t>(i) * k * std::int64_t{sizeof(float)},
                      std::as_writable_bytes(std::span(row)));
    if (!all_finite(row) || row[i] < 0.0F) {
      refuse_file(
          fmt::format("have finite values and a diagonal not below 0 in tensor {}; got "
                      "others in row {}",
                      in_quotes(tensor), i));
    }
    std::copy_n(row.begin(), i + 1, lower.begin() + static_cast<std::ptrdiff_t>(i * width));
  }
  return lower;
}

std::string Calibration::identity() const {
  std::string all;
  for (const InputFile& file : file_.impl().inputs) all += file.identity();
  return all;
}

}  // namespace octavo::checkpoint
