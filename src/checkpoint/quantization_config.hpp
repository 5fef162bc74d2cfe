// SPDX-License-Identifier: Apache-2.0
// The JSON object that model repositories keep in config.json as "quantization_config". Octavo
// keeps it in the file it describes: metadata "quantization_config", with the same fields.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

inline constexpr const char* kConfigKey = "quantization_config";

/// What a configuration declares of one layer; everything that it leaves open is nullopt.
struct LayerConfig {
  std::optional<ScaleGrid> grid;  ///< weight elements under one scale, relative to [N, K]
  std::optional<float> outlier_threshold;
  /// The activation rule; the inner nullopt declares "activations as they are".
  std::optional<std::optional<ActivationQuant>> activation;
  /// Whether activations are quantised by the file's input_scale.
  std::optional<bool> static_activations;
};

/// What the file's metadata declares of that layer. Throws Error (corrupt_data, unsupported).
LayerConfig layer_config(const Checkpoint& file, std::string_view layer);

/// The configuration of a file quantised by that scheme; `ignored` names the layers left alone.
std::string config_text(Scheme scheme, const std::vector<std::string>& ignored);

/// The rule for activations that are quantised per token.
ActivationQuant per_token_rule(DType dtype);
/// The rule of LLM.int8(): its statistics and codes, outlier columns in float.
ActivationQuant llm_int8_rule(float outlier_threshold);
/// The rule for activations quantised in groups of `length` along K.
ActivationQuant group_rule(DType dtype, std::int64_t length);

inline constexpr std::int64_t kBlock = 128;       ///< DeepSeek's block and group length
inline constexpr float kOutlierThreshold = 6.0F;  ///< bitsandbytes' default

}  // namespace octavo::checkpoint
