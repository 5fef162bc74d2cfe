// SPDX-License-Identifier: Apache-2.0
#include "input.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

#include "octavo/quantize.hpp"

namespace octavo::cli {
namespace {

constexpr std::array kCodes{DType::int8, DType::float8_e4m3fn};

/// Columns that are not 0 already and whose largest input has the code 0 under one scale.
std::int64_t columns_lost(const std::vector<float>& absmax, DType code) {
  const auto k = static_cast<std::int64_t>(absmax.size());
  const Tensor values =
      dequantize(quantize(view(absmax, {1, k}), {.dtype = code, .granularity = per_tensor()}));
  std::int64_t lost = 0;
  for (std::size_t i = 0; i < absmax.size(); ++i) {
    lost += absmax[i] > 0 && values.data_as<float>()[i] == 0 ? 1 : 0;
  }
  return lost;
}

}  // namespace

Json input_json(const CalibratedInput& input) {
  std::vector<float> sorted = input.column_absmax;
  std::ranges::sort(sorted);
  Json lost = Json::object();
  for (const DType code : kCodes) lost[std::string(name(code))] = columns_lost(sorted, code);
  const auto outliers =
      sorted.end() - std::ranges::lower_bound(sorted, input.threshold);  // the threshold itself too
  return {{"absmax", sorted.back()},         {"median_absmax", sorted[sorted.size() / 2]},
          {"threshold", input.threshold},    {"outlier_columns", outliers},
          {"lost_columns", std::move(lost)}, {"hessian", !input.hessian.empty()}};
}

OutputErrors::OutputErrors(const CalibratedInputs& inputs, const CalibratedInput& input,
                           std::string layer, const Tensor& right)
    : inputs_(inputs),
      input_(input),
      layer_(std::move(layer)),
      right_(right),
      signal_(inputs_.output_power(layer_, right_)) {}

double OutputErrors::sqnr_db(const Tensor& values, bool keeps_outliers) const {
  Tensor error = Tensor::empty(DType::float32, right_.view().dims());
  const std::size_t k = input_.column_absmax.size();
  for (std::size_t i = 0; i < static_cast<std::size_t>(error.numel()); ++i) {
    const bool kept = keeps_outliers && input_.column_absmax[i % k] >= input_.threshold;
    error.data_as<float>()[i] =
        kept ? 0.0F : right_.data_as<float>()[i] - values.data_as<float>()[i];
  }
  const double noise = inputs_.output_power(layer_, error);
  return noise == 0 ? std::numeric_limits<double>::infinity() : 10 * std::log10(signal_ / noise);
}

}  // namespace octavo::cli
