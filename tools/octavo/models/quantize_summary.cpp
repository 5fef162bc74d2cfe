// SPDX-License-Identifier: Apache-2.0
#include "quantize_summary.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "output.hpp"

namespace octavo::cli {
namespace {

constexpr std::size_t kWorst = 5;

/// Sums over the layers of a report.
struct Totals {
  std::int64_t bytes_before = 0, bytes_after = 0, elements = 0, saturated = 0;
  double mean_sqnr_db = 0;  ///< of the layers that are not exact
  double max_error = 0;
  /// GPTQ: the mean over layers of output_error / nearest_output_error, and how many exceed 1.
  std::optional<double> output_error{};
  std::int64_t worse = 0;

  double bits_per_weight() const noexcept {
    return elements == 0 ? 0.0
                         : 8.0 * static_cast<double>(bytes_after) / static_cast<double>(elements);
  }
};

Totals totals(const std::vector<LayerReport>& layers) {
  Totals sums;
  double sqnr = 0;
  int inexact = 0, by_gptq = 0;
  double ratios = 0;
  for (const LayerReport& layer : layers) {
    sums.bytes_before += layer.bytes_before;
    sums.bytes_after += layer.bytes_after;
    sums.elements += layer.n * layer.k;
    sums.saturated += layer.saturated;
    sums.max_error = std::max(sums.max_error, layer.max_error);
    if (layer.output_error && layer.nearest_output_error.value_or(0) > 0) {
      const double ratio = *layer.output_error / *layer.nearest_output_error;
      ratios += ratio;
      ++by_gptq;
      sums.worse += ratio > 1 ? 1 : 0;
    }
    if (!std::isfinite(layer.sqnr_db)) continue;
    sqnr += layer.sqnr_db;
    ++inexact;
  }
  sums.mean_sqnr_db = inexact == 0 ? INFINITY : sqnr / inexact;
  if (by_gptq > 0) sums.output_error = ratios / by_gptq;
  return sums;
}

Json layer_json(const LayerReport& layer) {
  Json json{{"type", "layer"},
            {"name", layer.name},
            {"n", layer.n},
            {"k", layer.k},
            {"bytes_before", layer.bytes_before},
            {"bytes_after", layer.bytes_after},
            {"sqnr_db", layer.sqnr_db},
            {"max_error", layer.max_error},
            {"saturated", layer.saturated}};
  if (layer.output_error) {
    json["nearest_output_error"] = layer.nearest_output_error.value_or(0);
    json["output_error"] = *layer.output_error;
  }
  return json;
}

std::vector<LayerReport> worst_layers(std::vector<LayerReport> layers) {
  std::ranges::sort(layers, {}, &LayerReport::sqnr_db);
  if (layers.size() > kWorst) layers.resize(kWorst);
  return layers;
}

}  // namespace

void print_summary_json(const TransferArguments& arguments, std::string_view scheme,
                        const QuantizeReport& report) {
  for (const LayerReport& layer : report.layers) print_json(layer_json(layer));
  const Totals sums = totals(report.layers);
  print_json({{"type", "summary"},
              {"in", arguments.in},
              {"out", arguments.out},
              {"scheme", scheme},
              {"layers", report.layers.size()},
              {"tensors_copied", report.tensors_copied},
              {"layer_bytes_before", sums.bytes_before},
              {"layer_bytes_after", sums.bytes_after},
              {"file_bytes_before", report.file_bytes_before},
              {"file_bytes_after", report.file_bytes_after},
              {"bits_per_weight", sums.bits_per_weight()},
              {"mean_sqnr_db", sums.mean_sqnr_db},
              {"max_error", sums.max_error},
              {"saturated", sums.saturated},
              {"smoothed_norms", report.smoothed_norms},
              {"unsmoothed_layers", report.unsmoothed_layers},
              {"warnings", report.warnings}});
}

void print_summary(const TransferArguments& arguments, std::string_view scheme,
                   const QuantizeReport& report) {
  const Totals sums = totals(report.layers);
  fmt::print("{}: {} quantised as {}, {} copied\n", printable(arguments.out),
             count_text(std::ssize(report.layers), "layer"), scheme,
             count_text(report.tensors_copied, "tensor"));
  fmt::print("linear layers  {} -> {}, {:.3f} bits per weight\n", size_text(sums.bytes_before),
             size_text(sums.bytes_after), sums.bits_per_weight());
  fmt::print("file           {} -> {}\n", size_text(report.file_bytes_before),
             size_text(report.file_bytes_after));
  if (report.layers.empty()) return;
  if (!report.smoothed_norms.empty()) {
    fmt::print("SmoothQuant    {} took factors; {} behind no such norm\n",
               count_text(std::ssize(report.smoothed_norms), "norm"),
               count_text(std::ssize(report.unsmoothed_layers), "layer"));
  }
  if (sums.output_error) {
    fmt::print("GPTQ           output error {:.3g} of that of rounding to nearest, {} larger\n",
               *sums.output_error, count_text(sums.worse, "layer"));
  }
  fmt::print("mean SQNR      {} dB, largest error {:.3g}\n\n", db_text(sums.mean_sqnr_db),
             sums.max_error);

  const std::vector<LayerReport> worst = worst_layers(report.layers);
  fmt::print("The {} with the lowest SQNR:\n",
             worst.size() == 1 ? "layer" : fmt::format("{} layers", worst.size()));
  Table table({{"layer"}, {"[N, K]"}, {"SQNR dB", true}, {"max error", true}, {"saturated", true}});
  for (const LayerReport& layer : worst) {
    table.add({printable(layer.name), fmt::format("[{}, {}]", layer.n, layer.k),
               db_text(layer.sqnr_db), fmt::format("{:.3g}", layer.max_error),
               fmt::format("{}", layer.saturated)});
  }
  table.print();
}

}  // namespace octavo::cli
