// SPDX-License-Identifier: Apache-2.0
// How each tool spells its configuration: a function per method.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/declared/quantization_config.hpp"
#include "checkpoint/text/json_tree.hpp"
#include "checkpoint/text/sentence.hpp"

namespace octavo::checkpoint {

/// Fills a QuantizationConfig from what one method declares. Throws Error.
class ConfigReader {
 public:
  explicit ConfigReader(QuantizationConfig& config) noexcept : config_(config) {}

  void read(JsonValue root);

  void compressed_tensors(JsonValue config);
  void fp8(JsonValue config);
  void fbgemm_fp8(JsonValue config);
  void bitsandbytes(JsonValue config);
  void gptq(JsonValue config);
  void modelopt(JsonValue config);
  void torchao(JsonValue config);
  void quanto(JsonValue config);
  void quanto_map(JsonValue map);
  void comfy(JsonValue config);
  void mxfp8(JsonValue config);
  void quark(JsonValue config);
  void auto_round(JsonValue config);

 private:
  using Group = QuantizationConfig::Group;
  /// What `rule` gives, or why it throws.
  template <class Rule>
  static Group group_of(const Rule& rule) {
    Group group;
    try {
      group.rule = rule();
    } catch (const Error& error) {
      group.refusal = error.status();
    }
    return group;
  }
  /// What `read` throws stops every layer that is asked for.
  template <class Read>
  void refuse_all(const Read& read) {
    try {
      read();
    } catch (const Error& error) {
      config_.refusal_ = error.status();
    }
  }
  /// A group of layers by their own names. Its index.
  std::size_t add_group(Group group);
  void leave_alone_lists(JsonValue config);
  void leave_alone(Spelling spelling, JsonValue list, std::string_view property);

  QuantizationConfig& config_;
};

/// compressed-tensors' preset of that name, whatever its case. Throws Error (unsupported).
LayerConfig preset_rule(std::string_view name);
/// What ComfyUI says of a layer, {"format": ...}. Throws Error.
LayerConfig comfy_rule(const JsonValue& format);

/// Throws Error (corrupt_data): "'quantization_config'.property must rule; got ...".
[[noreturn]] void reject_config(std::string_view property, std::string_view rule,
                                const JsonValue& got);
/// The same with the code unsupported.
[[noreturn]] void unsupported_config(std::string_view property, std::string_view rule,
                                     const JsonValue& got);
std::int64_t positive(const JsonValue& value, std::string_view property);
ScaleGrid block_grid(const JsonValue& value, std::string_view property);
/// Absent, or a list of strings.
std::vector<std::string> names(const JsonValue& list, std::string_view property);

}  // namespace octavo::checkpoint
