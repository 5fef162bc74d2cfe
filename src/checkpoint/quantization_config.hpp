// SPDX-License-Identifier: Apache-2.0
// The JSON object that model repositories keep in config.json as "quantization_config". Octavo
// keeps it in the file it describes: metadata "quantization_config", with the same fields.
#pragma once

#include <map>
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
  bool whole_columns = false;                 ///< LLM.int8: as ActivationQuant's
  std::vector<std::int64_t> outlier_columns;  ///< LLM.int8: as the file lists them
  /// The activation rule; the inner nullopt declares "activations as they are".
  std::optional<std::optional<ActivationQuant>> activation;
  /// Whether activations are quantised by the file's input_scale.
  std::optional<bool> static_activations;
};

/// What the file's metadata declares of that layer. Throws Error (corrupt_data, unsupported).
LayerConfig layer_config(const Checkpoint& file, std::string_view layer);

inline constexpr std::int64_t kBlock = 128;       ///< DeepSeek's block and group length
inline constexpr float kOutlierThreshold = 6.0F;  ///< bitsandbytes' default

/// What a configuration says of LLM.int8()'s outliers.
struct OutlierConfig {
  float threshold = kOutlierThreshold;
  bool whole_columns = false;
  std::map<std::string, std::vector<std::int64_t>> columns{};  ///< by layer
};

/// The configuration of a file quantised by that scheme; `ignored` names the layers left alone.
/// `operation` begins the sentence for names that are not UTF-8.
std::string config_text(const char* operation, Scheme scheme,
                        const std::vector<std::string>& ignored, const OutlierConfig& outliers);

/// Whether two rules quantise alike. May differ: the values of a static scale and zero point, which
/// `fuse` merges, and lists of outlier columns.
bool same_rule(const ActivationQuant& a, const ActivationQuant& b) noexcept;

/// The rule for activations that are quantised per token.
ActivationQuant per_token_rule(DType dtype);
/// The rule of LLM.int8(): its statistics and codes, outlier columns in float.
ActivationQuant llm_int8_rule(float outlier_threshold);
/// The rule for activations quantised in groups of `length` along K.
ActivationQuant group_rule(DType dtype, std::int64_t length);

}  // namespace octavo::checkpoint
