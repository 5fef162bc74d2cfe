// SPDX-License-Identifier: Apache-2.0
// A canonical weight in the terms of one format.
#pragma once

#include <string>
#include <vector>

#include "checkpoint/safetensors/writer.hpp"
#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

/// What a layer becomes.
struct Converted {
  std::vector<TensorShape> shapes;
  std::vector<Tensor> tensors;  ///< of the shapes, but for scalars
  /// The layer as the format says it, for the configuration.
  Weight weight;
  /// What is not as it was, a clause for each: "codes are made anew, ...".
  std::vector<std::string> lost;
};

/// `keep_static`: static activation scales stay, where the format has them.
Converted convert_layer(const std::string& layer, Weight weight, Format format, bool keep_static);

}  // namespace octavo::checkpoint
