// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/steps/smooth.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "checkpoint/open/open_checkpoint.hpp"
#include "checkpoint/safetensors/dtype.hpp"
#include "checkpoint/steps/rows.hpp"
#include "checkpoint/text/sentence.hpp"

namespace octavo::checkpoint {
namespace {

using Layers = std::map<std::string, LayerPlan*, std::less<>>;

/// The largest magnitude of each column, taken up into `most`.
void take_columns(const Checkpoint::Impl& in, const LayerPlan& layer, std::vector<float>& most) {
  const std::int64_t step = rows_of_piece(layer);
  for (std::int64_t row = 0; row < layer.at.n; row += step) {
    const Tensor rows = copy(weight_rows(in, layer, row, step), DType::float32);
    const float* value = rows.data_as<float>();
    for (std::int64_t i = 0; i < rows.size(0); ++i) {
      for (float& m : most) m = std::max(m, std::fabs(*value++));
    }
  }
}

/// max|x|^alpha / max|w|^(1 - alpha); 1 for a column of which one of them is 0 or not finite.
std::vector<float> factors_of(const Checkpoint::Impl& in, const std::vector<LayerPlan>& layers,
                              const std::vector<float>& inputs, double alpha) {
  std::vector<float> weights(inputs.size()), factors(inputs.size(), 1.0F);
  for (const LayerPlan& layer : layers) take_columns(in, layer, weights);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const auto factor = static_cast<float>(std::pow(inputs[i], alpha) /
                                           std::pow(static_cast<double>(weights[i]), 1.0 - alpha));
    if (inputs[i] > 0 && weights[i] > 0 && std::isfinite(factor) && factor > 0) factors[i] = factor;
  }
  return factors;
}

class Smoother {
 public:
  Smoother(WritePlan& plan, const Checkpoint& in, const Calibration& calibration,
           const std::optional<double>& alpha)
      : plan_(plan), in_(in), calibration_(calibration), alpha_(alpha) {
    for (FilePlan& file : plan.files) {
      for (LayerPlan& layer : file.layers) layers_.emplace(layer.name, &layer);
    }
  }

  void smooth() {
    for (const FedLayers& fed : calibration_.norms()) smooth(fed);
    if (plan_.smoothed_norms.empty()) {
      refuse(Code::invalid_argument,
             "quantize_file: calibration {} must have norms that feed quantised layers and nothing "
             "else for smoothquant; got {} norms, none of which does",
             in_quotes(calibration_.path()), calibration_.norms().size());
    }
    for (const auto& [name, layer] : layers_) {
      if (layer->smooth == nullptr) plan_.unsmoothed_layers.push_back(name);
    }
    if (left_ > 0) {
      plan_.warnings.push_back(fmt::format(
          "quantize_file: layers behind a norm must all be quantised to be smoothed; got {} norms "
          "that stay as they are, the first {}, since {} stays in float",
          left_, in_quotes(first_left_), in_quotes(first_float_)));
    }
  }

 private:
  void smooth(const FedLayers& fed) {
    std::vector<LayerPlan*> behind;
    for (const std::string& name : fed.layers) {
      const auto found = layers_.find(name);
      if (found == layers_.end()) return leave(fed.norm, name);
      behind.push_back(found->second);
    }
    const std::int64_t k = behind[0]->at.k;
    const auto factors = std::make_shared<const SmoothFactors>(maker(behind));
    const auto weight = norm_tensor(fed.norm + ".weight", k);
    for (LayerPlan* layer : behind) layer->smooth = factors;
    divide(*weight, factors);
    if (const auto bias = norm_tensor(fed.norm + ".bias", k)) divide(*bias, factors);
    plan_.smoothed_norms.push_back(fed.norm);
  }

  void leave(const std::string& norm, const std::string& layer) {
    if (!in_.contains(layer + ".weight")) {
      refuse(Code::invalid_argument,
             "quantize_file: calibration {} must be of this model; got layer {} behind norm {}, "
             "which it has not{}",
             in_quotes(calibration_.path()), in_quotes(layer), in_quotes(norm),
             nearest_name(in_.impl().header, layer + ".weight"));
    }
    if (left_++ > 0) return;
    first_left_ = norm;
    first_float_ = layer;
  }

  std::function<std::vector<float>()> maker(const std::vector<LayerPlan*>& behind) const {
    std::vector<float> inputs(static_cast<std::size_t>(behind[0]->at.k));
    std::vector<LayerPlan> layers;
    const CalibratedLayer* calibrated = nullptr;
    for (const LayerPlan* layer : behind) {
      calibrated = &calibration_.layer(layer->name, layer->at.k);
      for (std::size_t i = 0; i < inputs.size(); ++i) {
        inputs[i] = std::max(inputs[i], calibrated->absmax(static_cast<std::int64_t>(i)));
      }
      layers.push_back(*layer);
    }
    if (!alpha_) return [factors = calibrated->smooth] { return factors; };
    return [&in = in_.impl(), layers = std::move(layers), inputs = std::move(inputs),
            alpha = *alpha_] { return factors_of(in, layers, inputs, alpha); };
  }

  /// The file and the plan of a norm's tensor; nothing for a bias that is not there.
  struct Copied {
    FilePlan* file;
    std::size_t index;  ///< of its copies
  };
  std::optional<Copied> norm_tensor(const std::string& name, std::int64_t k) const {
    for (FilePlan& file : plan_.files) {
      const auto found = std::ranges::find_if(
          file.copies, [&](const CopyPlan& copy) { return copy.entry->name == name; });
      if (found == file.copies.end()) continue;
      const TensorEntry& entry = *found->entry;
      const DType dtype = dtype_of_name(entry.dtype);
      const bool is_float =
          dtype == DType::float32 || dtype == DType::bfloat16 || dtype == DType::float16;
      if (entry.shape == std::vector<std::int64_t>{k} && is_float) {
        return Copied{&file, static_cast<std::size_t>(found - file.copies.begin())};
      }
      refuse(Code::invalid_argument,
             "quantize_file: tensor {}, a norm of calibration {}, must be floats [{}]; got {} {}",
             in_quotes(name), in_quotes(calibration_.path()), k, entry.dtype,
             shape_text(entry.shape));
    }
    if (name.ends_with(".bias")) return std::nullopt;
    refuse(Code::invalid_argument,
           "quantize_file: calibration {} must be of this model; got norm tensor {}, which it has "
           "not{}",
           in_quotes(calibration_.path()), in_quotes(name), nearest_name(in_.impl().header, name));
  }

  void divide(const Copied& norm, const std::shared_ptr<const SmoothFactors>& factors) {
    FilePlan& file = *norm.file;
    const CopyPlan copied = file.copies[norm.index];
    file.copies.erase(file.copies.begin() + static_cast<std::ptrdiff_t>(norm.index));
    --plan_.tensors_copied;
    MadePlan made{.entry = copied.entry,
                  .bytes = copied.entry->end - copied.entry->begin,
                  .outputs = {copied.output}};
    made.make = [&in = in_, entry = copied.entry, factors](LayerReport&) {
      const Tensor stored = in.tensor(entry->name);
      const Tensor divided = copy(stored, DType::float32);
      auto* value = divided.data_as<float>();
      for (const float factor : factors->values()) *value++ /= factor;
      return std::vector<Tensor>{copy(divided, stored.dtype())};
    };
    file.made.push_back(std::move(made));
  }

  WritePlan& plan_;
  const Checkpoint& in_;
  const Calibration& calibration_;
  const std::optional<double>& alpha_;
  Layers layers_;
  std::int64_t left_ = 0;
  std::string first_left_, first_float_;
};

}  // namespace

std::span<const float> SmoothFactors::values() const {
  std::call_once(once_, [this] { values_ = make_(); });
  return values_;
}

void smooth_plan(WritePlan& plan, const Checkpoint& in, const Calibration& calibration,
                 const std::optional<double>& alpha) {
  Smoother(plan, in, calibration, alpha).smooth();
}

}  // namespace octavo::checkpoint
