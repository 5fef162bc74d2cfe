// SPDX-License-Identifier: Apache-2.0
// How a model's weights lie where neither names nor shapes tell: by config.json's "model_type".
#pragma once

#include <string_view>

namespace octavo::checkpoint {

struct ModelLayout {
  bool conv1d = false;  ///< linear layers are transformers' Conv1D, which keeps [K, N]
  /// Rows of gate and up alternate in stacked experts; else all of gate comes first.
  bool interleaved_experts = false;
};

/// `config`: the text of config.json.
ModelLayout model_layout(std::string_view config);

/// Whether a linear layer of a model with Conv1D is one, by its name.
bool is_conv1d(std::string_view layer) noexcept;

}  // namespace octavo::checkpoint
