// SPDX-License-Identifier: Apache-2.0
// Folders that are no model to write another of.
#pragma once

#include "checkpoint/layers/layer_tensors.hpp"
#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

/// Throws Error (invalid_argument, unsupported) for an adapter, a part of a diffusers pipeline, and
/// a declaration of a quantisation that is not read or of which no layer is there.
void check_model_folder(const char* operation, const Checkpoint& in, const LayerTensors& layers);

}  // namespace octavo::checkpoint
