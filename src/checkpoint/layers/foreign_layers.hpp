// SPDX-License-Identifier: Apache-2.0
// Quantised layers that are not read: codes of other sizes, rules that Octavo does not know.
#pragma once

#include <string>
#include <vector>

#include "checkpoint/layers/layer_tensors.hpp"
#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

struct ForeignLayer {
  std::string name;
  std::string reason;  ///< why it is not read
};

/// Those of the layers with tensors of their own that are not read. They leave `tensors`, as if
/// they were none. Throws Error (corrupt_data, io) for a layer that is not whole, and (unsupported)
/// where there is no other layer.
std::vector<ForeignLayer> take_foreign(const char* operation, const Checkpoint& in,
                                       LayerTensors& tensors);

/// What becomes of them in a file that has no place for their declaration; "": there are none.
std::string left_as_stored(const char* operation, const std::vector<ForeignLayer>& layers,
                           bool declared);

/// compressed-tensors' group of a layer as the model's declaration has it, its format included;
/// "": the declaration is another tool's, or the layer is in no group.
std::string declared_group(const Checkpoint& in, const std::string& layer);

/// compressed-tensors' declaration of the model, the given layers left alone; "": it is another
/// tool's.
std::string declared_without(const Checkpoint& in, const std::vector<std::string>& layers);

}  // namespace octavo::checkpoint
