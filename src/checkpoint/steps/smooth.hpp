// SPDX-License-Identifier: Apache-2.0
// SmoothQuant (Xiao et al., arXiv 2211.10438): factors that move range from activations to weights.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "checkpoint/calibrated/calibration.hpp"
#include "checkpoint/steps/plan.hpp"
#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

/// A factor above 0 for each of K columns: inputs are divided by them, columns of weights
/// multiplied. Those that follow from weights are computed when they are asked for first.
class SmoothFactors {
 public:
  explicit SmoothFactors(std::function<std::vector<float>()> make) : make_(std::move(make)) {}
  /// Any number of threads may ask at once. Throws what reading the weights throws.
  std::span<const float> values() const;

 private:
  std::function<std::vector<float>()> make_;
  mutable std::once_flag once_;
  mutable std::vector<float> values_;
};

/// Gives the layers of a plan that stand behind the calibration's norms their factors, and makes
/// the norms' weight and bias of what they are divided by them, in their own type. `alpha`: factors
/// anew; else the file's. A norm of which a layer stays in float stays as it is, with a warning.
/// Throws Error (invalid_argument): no norm that could take factors, one that the model has not.
void smooth_plan(WritePlan& plan, const Checkpoint& in, const Calibration& calibration,
                 const std::optional<double>& alpha);

}  // namespace octavo::checkpoint
