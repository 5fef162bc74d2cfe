// SPDX-License-Identifier: Apache-2.0
// A linear layer of a checkpoint on Octavo: the one place where 8-bit arithmetic enters.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "octavo/layers.hpp"
#include "octavo/parallel.hpp"

namespace reverse_dictionary {

/// Processes that share a model's linear layers; null: this one has them all.
using Ranks = std::shared_ptr<octavo::Communicator>;

class LinearLayer {
 public:
  /// Reads the weights and float32 biases of `prefixes`, in whichever scheme the file holds them;
  /// several become one layer whose outputs lie side by side. On ranks it reads this one's part:
  /// of each prefix's outputs (columns), or of the inputs (rows), whose sums all ranks get.
  /// Throws octavo::Error where one is missing or malformed, BadInput where there is no bias.
  LinearLayer(const octavo::Checkpoint& checkpoint, std::span<const std::string> prefixes,
              octavo::ShardAxis axis, const Ranks& ranks);

  /// Of this rank.
  std::int64_t inputs() const { return by_rows_ ? row_.rows().size() : layer_.in_features(); }
  std::int64_t outputs() const { return by_rows_ ? row_.out_features() : layer_.out_features(); }

  /// y [rows, outputs] = x [rows, inputs] times the weight, plus the bias; all float32.
  void apply(const float* x, std::int64_t rows, float* y) const;

 private:
  octavo::QuantizedLinear layer_;  ///< or
  octavo::RowParallelLinear row_;  ///< a part of the inputs
  bool by_rows_ = false;
  octavo::Tensor plain_;  ///< a float32 weight as it is stored
};

/// What the file spends on the layer's weight: codes, scales and marks, without the bias.
std::int64_t weight_bytes(const octavo::Checkpoint& checkpoint, std::string_view prefix);

}  // namespace reverse_dictionary
