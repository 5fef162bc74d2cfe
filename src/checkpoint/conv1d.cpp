// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/conv1d.hpp"

#include <algorithm>
#include <array>

#include "checkpoint/json_text.hpp"

namespace octavo::checkpoint {
namespace {

constexpr std::array<std::string_view, 4> kModels{"\"gpt2\"", "\"openai-gpt\"", "\"imagegpt\"",
                                                  "\"decision_transformer\""};
constexpr std::array<std::string_view, 4> kLayers{"c_attn", "c_proj", "c_fc", "q_attn"};

}  // namespace

bool has_conv1d(std::string_view config) {
  const auto type = json_field(config, "model_type");
  return type && std::ranges::find(kModels, *type) != kModels.end();
}

bool is_conv1d(std::string_view layer) noexcept {
  return std::ranges::find(kLayers, layer.substr(layer.rfind('.') + 1)) != kLayers.end();
}

}  // namespace octavo::checkpoint
