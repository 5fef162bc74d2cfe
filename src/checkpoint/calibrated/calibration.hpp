// SPDX-License-Identifier: Apache-2.0
// A calibration file: what the inputs of a model's linear layers look like on real data
// (docs/calibration.md).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

/// What is known of a layer's input [..., K].
struct CalibratedLayer {
  std::vector<float> low, high;  ///< of each column, finite
  std::vector<float> smooth;     ///< SmoothQuant's factors, finite and above 0
  float threshold = 0;           ///< magnitude from which a column is an outlier column
  std::string hessian{};         ///< the tensor of 2/n X^T X; empty: none

  std::int64_t k() const noexcept { return static_cast<std::int64_t>(low.size()); }
  /// The largest magnitude of a column.
  float absmax(std::int64_t column) const noexcept;
};

/// A norm whose output is the input of these layers and of nothing else.
struct FedLayers {
  std::string norm;
  std::vector<std::string> layers;
};

class Calibration {
 public:
  /// Reads all but the Hessians. `operation` begins the sentences. Throws Error (unavailable, io,
  /// corrupt_data: tensor and rule).
  explicit Calibration(const std::string& path, std::string operation = "quantize_file");

  bool contains(std::string_view layer) const { return layers_.contains(layer); }

  /// What is known of a layer of the model with K columns. Throws Error (invalid_argument):
  /// nothing, or another K.
  const CalibratedLayer& layer(const std::string& name, std::int64_t k) const;
  /// The layers of the other experts in the place of a layer "x.experts.3.up_proj" of which nothing
  /// is known, since no row was routed to it; none for any other layer. Throws as `layer`.
  std::vector<const CalibratedLayer*> stand_ins(const std::string& name, std::int64_t k) const;
  /// Throws Error (invalid_argument) where that layer has none.
  const std::string& hessian(const std::string& name, std::int64_t k) const;
  /// The lower triangle of a Hessian in float64 [K, K], row by row; what is above it is 0. Throws
  /// Error (corrupt_data: not finite, a diagonal below 0; io).
  std::vector<double> read_hessian(const std::string& tensor, std::int64_t k) const;

  const std::vector<FedLayers>& norms() const noexcept { return norms_; }
  const std::string& path() const noexcept { return file_.path(); }
  /// Tells files apart that have been written anew.
  std::string identity() const;

 private:
  void add_layer(const std::string& name, float threshold, std::string hessian);
  std::vector<float> columns(const std::string& layer, const char* field) const;
  void add_norm(FedLayers fed);
  [[noreturn]] void refuse_file(const std::string& what) const;

  std::string operation_;
  Checkpoint file_;
  std::map<std::string, CalibratedLayer, std::less<>> layers_;
  /// Names of experts, by that without the expert's number: "x.experts.up_proj".
  std::map<std::string, std::vector<std::string>, std::less<>> experts_;
  std::vector<FedLayers> norms_;
};

}  // namespace octavo::checkpoint
