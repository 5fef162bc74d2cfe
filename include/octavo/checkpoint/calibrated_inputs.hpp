// SPDX-License-Identifier: Apache-2.0
// What the inputs of a model's linear layers look like on real data: a calibration file, read.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/tensor.hpp"

namespace octavo {

/// The input [..., K] of a linear layer.
struct CalibratedInput {
  std::vector<float> column_absmax;  ///< [K]: the largest magnitude of each column, finite
  float threshold = 0;               ///< magnitude from which a column is an outlier column
  std::string hessian{};             ///< the tensor of 2/n X^T X [K, K]; empty: none
};

/// A calibration file (docs/calibration.md). `operation` begins the sentences of its errors.
class OCTAVO_API CalibratedInputs {
 public:
  /// Reads all but the Hessians. Throws Error (io, unavailable; corrupt_data: tensor and rule).
  CalibratedInputs(const std::string& path, std::string_view operation);

  /// What is known of the input of a layer with K columns; nullopt where the file has no row of
  /// it. Throws Error (invalid_argument: a row with another K).
  std::optional<CalibratedInput> find(const std::string& layer, std::int64_t k) const;

  /// The mean of |m x|^2 over the file's inputs x of a layer, tr(m H m^T) / 2, in float64, for a
  /// float32 matrix m [N, K]: with m the weight its output's power, with m the error of quantised
  /// codes the power of the output's error. The Hessian of the last call is kept (8 K^2 bytes).
  ///
  /// Throws Error (invalid_argument: another dtype or K, no Hessian; corrupt_data: one that is not
  /// finite or has a diagonal below 0; unsupported: no LAPACK, whose dtrmm multiplies; io).
  double output_power(const std::string& layer, const TensorView& matrix) const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace octavo
