// SPDX-License-Identifier: Apache-2.0
// The configuration of a file that Octavo writes.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
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
/// transformers reads. int8-weight-only has all of them so, whatever is said here.
enum class Packed : std::uint8_t { none, experts, all };

/// What activations of int8-dynamic and fp8-dynamic have their scales for.
enum class Activations : std::uint8_t { token, tensor };  ///< computed; static, as input_scale

/// compressed-tensors' arguments of 8-bit weights or activations; `strategy` with its sizes, and
/// `more` fields, as JSON.
std::string arguments_text(DType dtype, std::string_view strategy, bool symmetric, bool dynamic,
                           std::string_view more = "");

/// A group of compressed-tensors.
struct ConfigGroup {
  std::string text;    ///< the object
  std::string format;  ///< of its codes
};
/// Of layers that `targets` names; weights and activations as `arguments_text` says them. A group
/// need not say its format where the configuration does.
ConfigGroup config_group(std::string_view targets, std::string_view weights,
                         std::string_view activations, std::string_view format,
                         bool says_format = true);

/// A file's configuration in each of three forms; `ignored` names the layers left alone, as JSON.
std::string compressed_tensors_text(const std::vector<ConfigGroup>& groups,
                                    std::string_view ignored, const std::string& kv_cache = {});
std::string fp8_text(bool is_static, bool block, std::string_view ignored);
std::string bitsandbytes_text(const char* operation, std::string_view ignored,
                              const OutlierConfig& outliers);

/// Whether a scheme's configuration can name an output head.
bool names_heads(Scheme scheme) noexcept;

/// The configuration of a file quantised by that scheme; `ignored` names the layers left alone,
/// `heads` output heads that are quantised, which readers may not count among linear layers.
/// `operation` begins the sentence for names that are not UTF-8.
std::string config_text(const char* operation, Scheme scheme,
                        const std::vector<std::string>& ignored, const OutlierConfig& outliers,
                        Packed packed = Packed::none, Activations activations = Activations::token,
                        const std::vector<std::string>& heads = {});

/// What a layer of int8-dynamic says of itself in ComfyUI's files (`LAYER.comfy_quant`); rotation
/// 0: none.
std::string comfyui_text(std::int32_t rotation);

}  // namespace octavo::checkpoint
