// SPDX-License-Identifier: Apache-2.0
// What the tests of calibrated quantising share: inputs of layers, and the file that tells of them.
#pragma once

#include <cmath>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/support.hpp"

namespace octavo::test {

/// Rows of K inputs in which a column follows the one before it: x_j = rho x_(j-1) + noise, each of
/// variance 1 (an autoregressive process).
struct Inputs {
  std::int64_t n = 0, k = 0;
  std::vector<float> x;  ///< [n, k]

  double at(std::int64_t i, std::int64_t j) const {
    return static_cast<double>(x[static_cast<std::size_t>(i * k + j)]);
  }
};

inline Inputs correlated(std::int64_t n, std::int64_t k, double rho, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal;
  Inputs made{n, k, {}};
  for (std::int64_t i = 0; i < n; ++i) {
    double before = normal(generator);
    for (std::int64_t j = 0; j < k; ++j) {
      before = j == 0 ? before : rho * before + std::sqrt(1 - rho * rho) * normal(generator);
      made.x.push_back(static_cast<float>(before));
    }
  }
  return made;
}

/// 2/n X^T X.
inline std::vector<float> hessian_of(const Inputs& inputs) {
  std::vector<float> h;
  for (std::int64_t a = 0; a < inputs.k; ++a) {
    for (std::int64_t b = 0; b < inputs.k; ++b) {
      double sum = 0;
      for (std::int64_t i = 0; i < inputs.n; ++i) sum += inputs.at(i, a) * inputs.at(i, b);
      h.push_back(static_cast<float>(2 * sum / static_cast<double>(inputs.n)));
    }
  }
  return h;
}

inline std::vector<float> gaussians(std::int64_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = normal(generator);
  return values;
}

/// A calibration file that is made tensor by tensor.
struct CalibrationFile {
  std::string layers;  ///< JSON fields of "layers"
  std::string norms;   ///< and of "norms"
  std::vector<TensorToWrite> tensors;

  /// A layer whose columns reach from -1 to `high`.
  void add(const std::string& name, std::int64_t k, std::vector<float> smooth,
           const std::string& hessian = "", float high = 1) {
    const std::vector<float> low(static_cast<std::size_t>(k), -1.0F);
    add(name, low, std::vector<float>(low.size(), high), std::move(smooth), hessian);
  }
  void add(const std::string& name, const std::vector<float>& low, const std::vector<float>& high,
           const std::vector<float>& smooth, const std::string& hessian = "") {
    const auto k = static_cast<std::int64_t>(low.size());
    tensors.push_back(stored(name + ".column_min", "F32", {k}, low));
    tensors.push_back(stored(name + ".column_max", "F32", {k}, high));
    tensors.push_back(stored(name + ".smooth", "F32", {k}, smooth));
    layers += (layers.empty() ? "\"" : ",\"") + name + R"(":{"threshold":6.0,"code":"int8")" +
              (hessian.empty() ? std::string() : R"(,"hessian":")" + hessian + "\"") + "}";
  }
  void add_hessian(const std::string& name, std::int64_t k, const std::vector<float>& h) {
    tensors.push_back(stored(name, "F32", {k, k}, h));
  }
  void write(const std::string& path) const {
    write_as(path, R"({"version":1,"layers":{)" + layers + R"(},"norms":{)" + norms + "}}");
  }
  void write_as(const std::string& path, const std::string& text) const {
    write_safetensors(path, tensors, {{"octavo_calibration", text}});
  }
};

inline std::vector<float> ones(std::int64_t k) {
  return std::vector<float>(static_cast<std::size_t>(k), 1.0F);
}

}  // namespace octavo::test
