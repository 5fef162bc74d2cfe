// SPDX-License-Identifier: Apache-2.0
// Quantised layers that are written as the floats that they stand for, as the model keeps them.
#pragma once

#include "checkpoint/layers/layer_tensors.hpp"
#include "checkpoint/steps/plan.hpp"
#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

/// What config.json says that the model was before; bfloat16 where it says nothing.
DType model_dtype(const Checkpoint& in);

/// Whether a layer's codes have more than two dimensions.
bool is_convolution(const Checkpoint& in, const StoredLayer& layer);

/// A layer in the shape of its codes, a matrix [N, K] or a convolution's weight, or [K, N] where
/// the model's is transformers' Conv1D.
void add_float_layer(FilePlan& file, const Checkpoint& in, const StoredLayer& layer, DType dtype);

/// A tensor whose elements are values, in another type.
void add_float_tensor(FilePlan& file, const Checkpoint& in, const TensorEntry& entry, DType dtype);

/// A stack stays one tensor as it lies, each expert written into its part.
void add_float_stack(FilePlan& file, const Checkpoint& in, const StoredStack& stack, DType dtype);

}  // namespace octavo::checkpoint
