// SPDX-License-Identifier: Apache-2.0
// Which tensors of a checkpoint make up its quantised layers.
#pragma once

#include <cstddef>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/plan.hpp"
#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

/// A quantised layer, and the largest of its tensors: its codes.
struct StoredLayer {
  std::string name;
  const TensorEntry* codes = nullptr;
};

class LayerTensors {
 public:
  /// Throws Error (unsupported) where several layers share a tensor: experts in one stack.
  explicit LayerTensors(const Checkpoint& in);

  const std::vector<StoredLayer>& layers() const noexcept { return layers_; }
  /// Whether a tensor is part of a quantised layer's weight: its codes, scales, zero points or
  /// activation scales, not its bias.
  bool is_part(const TensorEntry& entry) const { return layer_with(entry.name).has_value(); }

 private:
  std::optional<std::string_view> layer_with(std::string_view tensor) const;

  std::set<std::string, std::less<>> names_;
  std::vector<StoredLayer> layers_;
};

/// A plan that copies what is part of no quantised layer. Throws Error (invalid_argument) where
/// there is none.
Plan plan_of_others(const char* operation, const Checkpoint& in, const LayerTensors& tensors);

}  // namespace octavo::checkpoint
