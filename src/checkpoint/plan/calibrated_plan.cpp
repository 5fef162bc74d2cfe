// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/plan/calibrated_plan.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string_view>
#include <utility>

#include "checkpoint/steps/gptq_layer.hpp"
#include "checkpoint/steps/smooth.hpp"
#include "checkpoint/text/sentence.hpp"
#include "octavo/dtype.hpp"

namespace octavo::checkpoint {
namespace {

constexpr double kDamp = 0.01;  // GPTQ's own

/// The largest magnitude of a column of the layer's input as it is after smoothing.
float column_absmax(const LayerPlan& layer, const CalibratedLayer& calibrated, std::int64_t i) {
  const float most = calibrated.absmax(i);
  if (layer.smooth == nullptr) return most;
  return most / layer.smooth->values()[static_cast<std::size_t>(i)];
}

/// What is known of the layer's input: one row, or those of the other experts that stand in for it.
using Known = std::vector<const CalibratedLayer*>;

/// Largest magnitude over the largest code; 1 where all inputs were 0.
float input_scale(const LayerPlan& layer, const Known& known) {
  float most = 0;
  for (const CalibratedLayer* calibrated : known) {
    for (std::int64_t i = 0; i < layer.at.k; ++i) {
      most = std::max(most, column_absmax(layer, *calibrated, i));
    }
  }
  const auto scale =
      static_cast<float>(static_cast<double>(most) / info(layer.recipe->rule()->spec.dtype).max);
  return scale > 0.0F ? scale : 1.0F;
}

void warn_of_unrouted(WritePlan& plan, const std::vector<std::string_view>& layers) {
  if (layers.empty()) return;
  constexpr std::size_t kNamed = 6;  // two experts
  const std::span named(layers.data(), std::min(kNamed, layers.size()));
  plan.warnings.push_back(fmt::format(
      "quantize_file: experts must get rows of the calibration's text for gptq and a static scale "
      "of their own; got {} layers without, {}{} (gptq rounds them to nearest; their static scale "
      "is the largest of the module's other experts)",
      layers.size(), fmt::join(named, ", "), layers.size() > kNamed ? ", ..." : ""));
}

/// Hessians and static scales.
void take_layers(WritePlan& plan, const std::shared_ptr<const Calibration>& calibration,
                 const QuantizeFileOptions& options, double damp) {
  std::vector<std::string_view> unrouted;
  for (FilePlan& file : plan.files) {
    for (LayerPlan& layer : file.layers) {
      Known known = calibration->stand_ins(layer.name, layer.at.k);
      const bool routed = known.empty();
      if (!routed) unrouted.emplace_back(layer.name);
      if (options.gptq && routed) {
        const std::string& hessian = calibration->hessian(layer.name, layer.at.k);
        layer.hessian =
            std::make_shared<const GptqHessian>(GptqHessian{calibration, hessian, damp});
      }
      if (options.static_scales) {
        if (routed) known.push_back(&calibration->layer(layer.name, layer.at.k));
        const float scale = input_scale(layer, known);
        const auto bytes = std::as_bytes(std::span(&scale, 1));
        file.constants.push_back(
            {file.add({layer.name + ".input_scale", "F32", {1}}), {bytes.begin(), bytes.end()}});
      }
    }
  }
  warn_of_unrouted(plan, unrouted);
}

void refuse_unless(bool good, const char* rule, std::string_view got) {
  if (!good) refuse(Code::invalid_argument, "quantize_file: {}; got {}", rule, got);
}

}  // namespace

std::shared_ptr<const Calibration> calibration_of(const Recipe& recipe,
                                                  const QuantizeFileOptions& options) {
  const std::string_view scheme = scheme_name(options.scheme);
  const bool given = !options.calibration.empty();
  const bool used = options.smoothquant || options.gptq || options.static_scales;
  refuse_unless(given || !used, "calibration must be given for smoothquant, gptq and static_scales",
                "none");
  refuse_unless(options.smoothquant || !options.smooth_alpha,
                "smooth_alpha must come with smoothquant", "it alone");
  refuse_unless(options.gptq || !options.damp, "damp must come with gptq", "it alone");
  if (const auto& alpha = options.smooth_alpha) {
    refuse_unless(*alpha >= 0 && *alpha <= 1, "smooth_alpha must be in 0..1",
                  fmt::format("{}", *alpha));
  }
  if (const auto& damp = options.damp) {
    refuse_unless(*damp > 0 && std::isfinite(*damp), "damp must be a finite number above 0",
                  fmt::format("{}", *damp));
  }
  refuse_unless(!options.gptq || recipe.code != nullptr,
                "scheme must be int8-dynamic, int8-weight-only or llm-int8 for gptq", scheme);
  const bool dynamic =
      options.scheme == Scheme::int8_dynamic || options.scheme == Scheme::fp8_dynamic;
  refuse_unless(!options.static_scales || dynamic,
                "scheme must be int8-dynamic or fp8-dynamic for static_scales", scheme);
  refuse_unless(!given || used || recipe.bitsandbytes,
                "calibration must come with smoothquant, gptq or static_scales, or with scheme "
                "llm-int8, which takes outlier columns from it",
                scheme);
  refuse_unless(!given || options.outlier_columns.empty(),
                "outlier_columns must be empty beside a calibration, which has them",
                fmt::format("{} lists", options.outlier_columns.size()));
  return given ? std::make_shared<const Calibration>(options.calibration) : nullptr;
}

void calibrate(WritePlan& plan, const Checkpoint& in,
               const std::shared_ptr<const Calibration>& calibration,
               const QuantizeFileOptions& options) {
  const double damp = options.damp.value_or(kDamp);
  if (options.smoothquant) smooth_plan(plan, in, *calibration, options.smooth_alpha);
  if (options.gptq || options.static_scales) take_layers(plan, calibration, options, damp);
  plan.identity = fmt::format(
      "\nsmoothquant {} {} gptq {} {} static_scales {} calibration{}", options.smoothquant,
      options.smooth_alpha ? fmt::format("{}", *options.smooth_alpha) : std::string("of the file"),
      options.gptq, damp, options.static_scales, calibration->identity());
}

std::map<std::string, std::vector<std::int64_t>> calibrated_columns(
    const WritePlan& plan, const Calibration& calibration, const std::optional<float>& threshold) {
  std::map<std::string, std::vector<std::int64_t>> lists;
  for (const FilePlan& file : plan.files) {
    for (const LayerPlan& layer : file.layers) {
      const CalibratedLayer& calibrated = calibration.layer(layer.name, layer.at.k);
      const float least = threshold.value_or(0) > 0 ? *threshold : calibrated.threshold;
      std::vector<std::int64_t> columns;
      for (std::int64_t i = 0; i < layer.at.k; ++i) {
        if (column_absmax(layer, calibrated, i) >= least) columns.push_back(i);
      }
      if (!columns.empty()) lists.emplace(layer.name, std::move(columns));
    }
  }
  return lists;
}

}  // namespace octavo::checkpoint
