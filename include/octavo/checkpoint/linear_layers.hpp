// SPDX-License-Identifier: Apache-2.0
// The float linear layers of a checkpoint: what quantize_file would quantise.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/checkpoint.hpp"

namespace octavo {

/// Where a matrix [n, k] lies in a tensor: element (i, j) is number begin + i * row_step +
/// j * column_step of it.
struct MatrixPlace {
  std::int64_t n = 0, k = 0;                              ///< rows and columns
  std::int64_t begin = 0, row_step = 0, column_step = 1;  ///< in elements of the tensor
};

/// A linear layer whose weight [N, K] is in float: a tensor of its own, or a part of a stack of
/// experts.
struct LinearLayer {
  std::string name;    ///< without ".weight"
  std::string tensor;  ///< where the weight is stored
  MatrixPlace at;      ///< where in that tensor
};

/// The float layers that quantize_file quantises where nothing is ignored, in file order.
OCTAVO_API std::vector<LinearLayer> linear_layers(const Checkpoint& model);

/// The tensors that are no part of a quantised layer's weight, in file order: what a float model
/// has, too.
OCTAVO_API std::vector<TensorEntry> plain_tensors(const Checkpoint& model);

/// Whether the model's class says that a layer is an embedding, a table of rows; false where the
/// class is not known. Throws Error, as open_checkpoint with a layout.
OCTAVO_API bool is_embedding(const Checkpoint& model, std::string_view layer);

/// The weight of a float layer, [N, K], in the type that it is stored in. Reads no other's. Throws
/// Error (io; invalid_argument: no such tensor, or a place outside it).
OCTAVO_API Tensor float_weight(const Checkpoint& model, const LinearLayer& layer);

}  // namespace octavo
