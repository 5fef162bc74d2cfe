// SPDX-License-Identifier: Apache-2.0
#include "layer.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

namespace octavo::cli {
namespace {

constexpr std::size_t kBins = 32, kTop = 8;
constexpr std::int64_t kSlices = 64;

/// A ratio; null where there is nothing to divide by.
Json ratio_json(double value, double median) {
  return median > 0 ? Json(value / median) : Json(nullptr);
}

struct Distance {
  double signal = 0, noise = 0, largest = 0;
  double sqnr_db() const {
    return noise == 0 ? std::numeric_limits<double>::infinity() : 10 * std::log10(signal / noise);
  }
};

Distance distance(const Tensor& right, const Tensor& values) {
  Distance sums;
  for (std::int64_t i = 0; i < right.numel(); ++i) {
    const double x = static_cast<double>(right.data_as<float>()[i]);
    const double error = std::abs(x - static_cast<double>(values.data_as<float>()[i]));
    sums.signal += x * x;
    sums.noise += error * error;
    sums.largest = std::max(sums.largest, error);
  }
  return sums;
}

}  // namespace

SchemeResult try_scheme(const std::string& layer, const Tensor& weight, Scheme scheme) {
  SchemeResult result{scheme, {}, quantize_weight(weight, scheme)};
  result.error = compare_weight(layer, weight, result.weight);
  return result;
}

Json scheme_json(const SchemeResult& result) {
  return {{"scheme", scheme_name(result.scheme)},
          {"sqnr_db", result.error.sqnr_db},
          {"max_error", result.error.max_error},
          {"saturated", result.error.saturated},
          {"bytes_after", result.error.bytes_after}};
}

Json histogram_json(const Tensor& weight) {
  std::array<std::int64_t, kBins> counts{};
  const std::int64_t columns = weight.size(1);
  for (std::int64_t row = 0; row < weight.size(0); ++row) {
    const float* w = weight.data_as<float>() + row * columns;
    float largest = 0;
    for (std::int64_t i = 0; i < columns; ++i) largest = std::max(largest, std::abs(w[i]));
    const float bins = largest > 0 ? static_cast<float>(kBins) / largest : 0.0F;
    for (std::int64_t i = 0; i < columns; ++i) {
      const auto bin = static_cast<std::size_t>(std::abs(w[i]) * bins);
      ++counts[std::min(bin, kBins - 1)];
    }
  }
  return counts;
}

Json columns_json(const Tensor& weight) {
  const std::int64_t columns = weight.size(1);
  std::vector<float> largest(static_cast<std::size_t>(columns));
  for (std::int64_t row = 0; row < weight.size(0); ++row) {
    const float* w = weight.data_as<float>() + row * columns;
    for (std::size_t i = 0; i < largest.size(); ++i) {
      largest[i] = std::max(largest[i], std::abs(w[i]));
    }
  }
  if (largest.empty()) return nullptr;
  std::vector<float> sorted = largest;
  std::ranges::sort(sorted);
  const double median = static_cast<double>(sorted[sorted.size() / 2]);

  std::vector<std::size_t> order(largest.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&](auto a, auto b) { return largest[a] > largest[b]; });
  order.resize(std::min(order.size(), kTop));
  Json top = Json::array();
  for (const std::size_t column : order) {
    const double value = static_cast<double>(largest[column]);
    top.push_back({{"column", column}, {"absmax", value}, {"ratio", ratio_json(value, median)}});
  }
  Json slices = Json::array();
  const std::int64_t count = std::min(columns, kSlices);
  for (std::int64_t slice = 0; slice < count; ++slice) {
    const auto begin = largest.begin() + slice * columns / count;
    const auto end = largest.begin() + (slice + 1) * columns / count;
    slices.push_back(ratio_json(static_cast<double>(*std::max_element(begin, end)), median));
  }
  return {{"median_absmax", median}, {"top", std::move(top)}, {"slices", std::move(slices)}};
}

Json distance_json(const Tensor& right, const Tensor& values) {
  const Distance sums = distance(right, values);
  return {{"sqnr_db", sums.sqnr_db()}, {"max_error", sums.largest}};
}

double sqnr_db(const Tensor& right, const Tensor& values) {
  return distance(right, values).sqnr_db();
}

}  // namespace octavo::cli
