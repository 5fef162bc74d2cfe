// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/model_layout.hpp"

#include <algorithm>
#include <array>

#include "checkpoint/json_text.hpp"

namespace octavo::checkpoint {
namespace {

struct Row {
  std::string_view model_type;  ///< as config.json spells it
  ModelLayout layout;
};
constexpr ModelLayout kConv1d{.conv1d = true}, kInterleaved{.interleaved_experts = true};
constexpr std::array<Row, 5> kModels{{{"\"gpt2\"", kConv1d},
                                      {"\"openai-gpt\"", kConv1d},
                                      {"\"imagegpt\"", kConv1d},
                                      {"\"decision_transformer\"", kConv1d},
                                      {"\"gpt_oss\"", kInterleaved}}};
constexpr std::array<std::string_view, 4> kLayers{"c_attn", "c_proj", "c_fc", "q_attn"};

}  // namespace

ModelLayout model_layout(std::string_view config) {
  const auto type = json_field(config, "model_type");
  if (!type) return {};
  const auto* const row = std::ranges::find(kModels, *type, &Row::model_type);
  return row == kModels.end() ? ModelLayout{} : row->layout;
}

bool ModelLayout::is_conv1d(std::string_view layer) const noexcept {
  return conv1d && std::ranges::find(kLayers, layer.substr(layer.rfind('.') + 1)) != kLayers.end();
}

}  // namespace octavo::checkpoint
