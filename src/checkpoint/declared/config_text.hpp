// SPDX-License-Identifier: Apache-2.0
// The configuration of a file that Octavo writes.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "checkpoint/declared/quantization_config.hpp"
#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

/// What a configuration says of LLM.int8()'s outliers.
struct OutlierConfig {
  float threshold = kOutlierThreshold;
  bool whole_columns = false;
  std::map<std::string, std::vector<std::int64_t>> columns{};  ///< by layer
};

/// Which layers have their codes four in an int32 (int8-dynamic): the one form of int8 experts that
/// transformers reads.
enum class Packed : std::uint8_t { none, experts, all };

/// What activations of int8-dynamic and fp8-dynamic have their scales for.
enum class Activations : std::uint8_t { token, tensor };  ///< computed; static, as input_scale

/// The configuration of a file quantised by that scheme; `ignored` names the layers left alone.
/// `operation` begins the sentence for names that are not UTF-8.
std::string config_text(const char* operation, Scheme scheme,
                        const std::vector<std::string>& ignored, const OutlierConfig& outliers,
                        Packed packed = Packed::none, Activations activations = Activations::token);

}  // namespace octavo::checkpoint
