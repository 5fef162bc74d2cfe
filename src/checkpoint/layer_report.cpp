// SPDX-License-Identifier: Apache-2.0
// Measuring a quantised weight, a strip of rows at a time.
#include "checkpoint/layer_report.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "checkpoint/sentence.hpp"

namespace octavo::checkpoint {
namespace {

/// Rows in float32 at once: a large layer is never held twice as float32.
constexpr std::int64_t kStrip = 64;

struct Sums {
  double signal = 0, noise = 0, max_error = 0;
  std::int64_t saturated = 0;
};

/// Elements [begin, end) of one row, which share a scale.
void add_run(const float* weight, const float* code, std::int64_t begin, std::int64_t end,
             float scale, float largest, Sums& sums) {
  for (std::int64_t j = begin; j < end; ++j) {
    const double w = static_cast<double>(weight[j]);
    const double error = w - static_cast<double>(code[j] * scale);
    sums.signal += w * w;
    sums.noise += error * error;
    sums.max_error = std::max(sums.max_error, std::abs(error));
    sums.saturated += std::abs(code[j]) >= largest ? 1 : 0;
  }
}

void add_row(const float* weight, const float* code, std::int64_t row, const Quantized& quantized,
             Sums& sums) {
  const std::int64_t k = quantized.data.size(1);
  const std::int64_t width = std::min(quantized.grid.cols, k);
  const float* scales =
      quantized.scale.data_as<float>() + row / quantized.grid.rows * quantized.scale.size(1);
  const float largest = qmax(quantized.data.dtype());
  for (std::int64_t begin = 0; begin < k; begin += width) {
    add_run(weight, code, begin, std::min(begin + width, k), scales[begin / width], largest, sums);
  }
}

double decibels(double signal, double noise) {
  if (noise == 0.0) return std::numeric_limits<double>::infinity();
  return 10.0 * std::log10(signal / noise);
}

}  // namespace

LayerReport measure(const char* operation, std::string_view layer, const TensorView& weight,
                    const Quantized& quantized) {
  LayerReport report{.name = std::string(layer), .n = weight.shape[0], .k = weight.shape[1]};
  Sums sums;
  for (std::int64_t row = 0; row < report.n; row += kStrip) {
    const std::int64_t end = std::min(row + kStrip, report.n);
    const Tensor w = copy(weight.slice(0, row, end), DType::float32);
    const Tensor codes = copy(quantized.data.view().slice(0, row, end), DType::float32);
    for (std::int64_t i = 0; i < end - row; ++i) {
      add_row(w.data_as<float>() + i * report.k, codes.data_as<float>() + i * report.k, row + i,
              quantized, sums);
    }
    if (!std::isfinite(sums.signal)) {
      refuse(Code::corrupt_data,
             "{}: the weight of layer {} must be finite; got NaN or Inf in rows {} to {}",
             operation, in_quotes(layer), row, end - 1);
    }
  }
  report.bytes_before = weight.numel() * element_bytes(weight.dtype);
  report.bytes_after = quantized.data.numel() * element_bytes(quantized.data.dtype()) +
                       quantized.scale.numel() * element_bytes(quantized.scale.dtype());
  report.sqnr_db = decibels(sums.signal, sums.noise);
  report.max_error = sums.max_error;
  report.saturated = sums.saturated;
  return report;
}

}  // namespace octavo::checkpoint
