// SPDX-License-Identifier: Apache-2.0
// Which tensors of a checkpoint make up its quantised layers.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/dialects/expert_layers.hpp"
#include "checkpoint/dialects/expert_stack.hpp"
#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

/// A quantised layer, and the largest of its tensors: its codes, or its part of a stack of experts.
struct StoredLayer {
  std::string name;
  const TensorEntry* codes = nullptr;
  std::int64_t begin = 0, bytes = 0;  ///< of the codes
};

class LayerTensors {
 public:
  explicit LayerTensors(const Checkpoint& in);

  /// Those with tensors of their own, then those that lie in stacks.
  const std::vector<StoredLayer>& layers() const noexcept { return layers_; }
  /// The former.
  std::span<const StoredLayer> alone() const noexcept { return std::span(layers_).first(alone_); }
  const std::vector<StoredStack>& stacks() const noexcept { return stacks_; }
  /// Takes layers with tensors of their own away, as if they were none.
  void leave(const std::set<std::string>& layers);
  /// Whether a tensor is part of a quantised layer's weight: its codes, scales, zero points or
  /// activation scales, not its bias.
  bool is_part(const TensorEntry& entry) const {
    return of_stacks_.contains(&entry) || layer_with(entry.name).has_value();
  }

 private:
  void add(const StoredStack& stack);
  std::optional<std::string_view> layer_with(std::string_view tensor) const;

  std::set<std::string, std::less<>> names_;
  std::vector<StoredStack> stacks_;
  std::set<const TensorEntry*> of_stacks_;
  std::vector<StoredLayer> layers_;
  std::size_t alone_ = 0;
};

}  // namespace octavo::checkpoint
