// SPDX-License-Identifier: Apache-2.0
// Models whose linear layers are transformers' Conv1D, which keeps its weight as [K, N].
#pragma once

#include <string_view>

namespace octavo::checkpoint {

/// Whether a config.json is that of such a model, by its "model_type".
bool has_conv1d(std::string_view config);

/// Whether a linear layer of such a model is one, by its name.
bool is_conv1d(std::string_view layer) noexcept;

}  // namespace octavo::checkpoint
