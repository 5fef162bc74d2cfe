// SPDX-License-Identifier: Apache-2.0
// How fast this machine multiplies by the weights of a report.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "layer.hpp"
#include "output.hpp"

namespace octavo::cli {

/// Median times of a linear layer by what its weight is: "float32", "bfloat16" or a scheme.
class ShapeSpeed {
 public:
  /// Measures a layer with each form of its weight for `seconds` in all; at least three calls each.
  ShapeSpeed(const Tensor& weight, const std::vector<SchemeResult>& schemes, double seconds);

  /// The geometric mean of the times over the numbers of rows; infinite where it did not run.
  double typical_us(const std::string& form) const;
  Json json() const;

 private:
  struct Time {
    std::string form;
    std::int64_t m;
    int repeats;
    double median_us;
    std::string not_run;  ///< why
  };
  void measure(const std::string& form, const Tensor& x, const PackedWeight& weight,
               double seconds);

  std::int64_t n_, k_;
  std::vector<Time> times_;
};

}  // namespace octavo::cli
