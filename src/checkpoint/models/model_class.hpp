// SPDX-License-Identifier: Apache-2.0
// What is known of the model that a checkpoint holds.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/models/architecture.hpp"
#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

struct ModelClass {
  std::shared_ptr<const Architecture> architecture{};  ///< null: the class is not known
  std::string model_type{};                            ///< as config.json has it; empty: none
  bool interleaved = false;  ///< rows of gate and up alternate in stacks that are not known

  /// What a tensor is; `layer` is its name without ".weight". Nothing: it is not known.
  std::optional<Architecture::Found> find(std::string_view layer) const;
  /// Whether that linear layer's weight is stored as [K, N].
  bool is_conv1d(std::string_view layer) const;
  /// Whether a layer is an expert that is no module of its own; where it is not known, by its name.
  bool is_of_stack(std::string_view layer) const;
  /// Whether rows of gate and up alternate in that stack of experts.
  bool interleaves(std::string_view stack) const;
};

/// `config`: the text of config.json; `layout`: that of a layout file (layout_file.hpp), null:
/// none. Throws Error (invalid_argument: the layout file).
ModelClass model_class(std::string_view config, const std::string* layout,
                       const std::vector<TensorEntry>& tensors);

}  // namespace octavo::checkpoint
