// SPDX-License-Identifier: Apache-2.0
// What quantising a checkpoint makes of each tensor, decided before anything is read or written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "checkpoint/config_text.hpp"
#include "checkpoint/layer_filter.hpp"
#include "checkpoint/recipe.hpp"
#include "checkpoint/safetensors_writer.hpp"
#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

/// A tensor that goes over as it is.
struct CopyPlan {
  const TensorEntry* entry = nullptr;
  std::size_t output = 0;  ///< in FilePlan::outputs
};

/// A weight [n, k] that is quantised: all of a tensor, or some rows of it.
struct LayerPlan {
  std::string name;
  const TensorEntry* entry = nullptr;
  std::int64_t first_row = 0;  ///< of the tensor, read as a matrix of rows of k
  std::int64_t n = 0, k = 0;
  std::size_t codes = 0, scale = 0;  ///< in FilePlan::outputs
};

struct FilePlan {
  std::string name;  ///< without its folder; of input and output
  std::vector<TensorShape> outputs{};
  std::vector<CopyPlan> copies{};
  std::vector<LayerPlan> layers{};
  std::vector<std::size_t> zero_bytes{};  ///< outputs of one byte, 0
};

struct QuantizePlan {
  std::vector<FilePlan> files;    ///< one for each input file
  std::vector<std::string> kept;  ///< layers that stay in float
  std::vector<std::string> warnings;
  OutlierConfig outliers;
  std::int64_t tensors_copied = 0;
};

/// Throws Error (invalid_argument): a checkpoint that is quantised already or has no layer to
/// quantise, ignored names that match nothing, outlier columns of layers that are not quantised.
QuantizePlan plan_quantisation(const Checkpoint& in, const Recipe& recipe,
                               const QuantizeFileOptions& options);

}  // namespace octavo::checkpoint
