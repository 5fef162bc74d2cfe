// SPDX-License-Identifier: Apache-2.0
// The float linear layers of a checkpoint: what quantize_file would quantise.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "octavo/checkpoint.hpp"

namespace octavo {

/// A linear layer whose weight [n, k] is in float: a tensor of its own, or rows of a stack of
/// experts, read as a matrix of rows of k.
struct LinearLayer {
  std::string name;    ///< without ".weight"
  std::string tensor;  ///< where the weight is stored
  std::int64_t first_row = 0, n = 0, k = 0;
};

/// The float layers that quantize_file quantises where nothing is ignored, in file order.
OCTAVO_API std::vector<LinearLayer> linear_layers(const Checkpoint& model);

}  // namespace octavo
