// SPDX-License-Identifier: Apache-2.0
// A linear layer of a checkpoint on Octavo: the one place where 8-bit arithmetic enters.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "octavo/checkpoint.hpp"
#include "octavo/linear.hpp"

namespace reverse_dictionary {

class LinearLayer {
 public:
  /// Reads `prefix`.weight in whichever scheme the file holds it, and `prefix`.bias.
  /// Throws octavo::Error where one is missing or malformed.
  LinearLayer(const octavo::Checkpoint& checkpoint, std::string_view prefix);

  std::int64_t inputs() const { return weight_.k(); }
  std::int64_t outputs() const { return weight_.n(); }
  const std::string& scheme() const { return scheme_; }

  /// y [rows, outputs] = x [rows, inputs] times the weight, plus the bias; all float32.
  void apply(const float* x, std::int64_t rows, float* y) const;

 private:
  octavo::PackedWeight weight_;
  octavo::Tensor plain_;  ///< a float32 weight as it is stored
  octavo::Tensor bias_;
  std::string scheme_;
};

/// What the file spends on the layer's weight: codes, scales and marks, without the bias.
std::int64_t weight_bytes(const octavo::Checkpoint& checkpoint, std::string_view prefix);

}  // namespace reverse_dictionary
