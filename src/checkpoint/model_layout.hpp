// SPDX-License-Identifier: Apache-2.0
// How a model's weights lie where neither names nor shapes tell: by config.json's "model_type".
#pragma once

#include <string_view>

namespace octavo::checkpoint {

struct ModelLayout {
  bool conv1d = false;  ///< linear layers are transformers' Conv1D, which keeps [K, N]
  /// Rows of gate and up alternate in stacked experts; else all of gate comes first.
  bool interleaved_experts = false;

  /// Whether that linear layer's weight is stored as [K, N].
  bool is_conv1d(std::string_view layer) const noexcept;
};

/// `config`: the text of config.json.
ModelLayout model_layout(std::string_view config);

}  // namespace octavo::checkpoint
