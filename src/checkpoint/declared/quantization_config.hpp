// SPDX-License-Identifier: Apache-2.0
// What model repositories declare of how their weights are quantised: config.json's
// "quantization_config", or a file that says the same in another form.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/declared/layer_filter.hpp"
#include "checkpoint/declared/layer_list.hpp"
#include "checkpoint/text/json_tree.hpp"
#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

inline constexpr const char* kConfigKey = "quantization_config";
// Octavo's own fields beside bitsandbytes' "llm_int8_threshold".
inline constexpr const char* kWholeColumns = "llm_int8_whole_columns";
inline constexpr const char* kOutlierColumns = "llm_int8_outlier_columns";

/// What a configuration says of a layer by its name.
enum class Listed : std::uint8_t {
  no,
  left_alone,  ///< among those that stay in float
  quantized,   ///< by its own name, not by a pattern or a class
};

/// What a configuration declares of one layer; everything that it leaves open is nullopt.
struct LayerConfig {
  Listed listed = Listed::no;
  std::optional<ScaleGrid> grid;  ///< weight elements under one scale, relative to [N, K]
  std::optional<bool> symmetric;  ///< codes have no zero points
  std::optional<bool> integers;   ///< codes are integers; false: floats
  std::optional<DType> codes;     ///< what the codes' bytes are, whatever the file calls them
  std::optional<float> outlier_threshold;
  bool whole_columns = false;                 ///< LLM.int8: as ActivationQuant's
  std::vector<std::int64_t> outlier_columns;  ///< LLM.int8: as the file lists them
  /// The activation rule; the inner nullopt declares "activations as they are".
  std::optional<std::optional<ActivationQuant>> activation;
  /// Whether activations are quantised by the file's input_scale.
  std::optional<bool> static_activations;
  /// They are quantised by it where it is there, and stay as they are where it is not.
  bool activations_by_scale = false;
  bool quantized_output = false;  ///< what the layer gives has a rule, too, which is not applied
  /// GPTQ: what a zero point is more than its stored byte; nullopt: no GPTQ declared.
  std::optional<int> zero_point_offset;
};

/// What a declaration is about: hf_quant_config.json has it one level down.
JsonValue body_of(const JsonValue& root);

/// What a configuration declares of every layer of a file, read once.
///
/// It comes from an untrusted file: reading it takes memory and time linear in its length (times a
/// logarithm for keys), asking it of a layer the logarithm of that and NamePatterns::first.
class QuantizationConfig {
 public:
  static constexpr JsonTree::Limits kLimits{
      .bytes = std::size_t{64} << 20, .levels = 32, .values = 8'000'000, .key_bytes = 65536};

  /// Of layers that differ in their rules.
  static constexpr std::size_t kMostGroups = 10'000;

  /// Nothing is declared.
  QuantizationConfig() = default;
  /// Parses config.json's "quantization_config", or the whole of hf_quant_config.json,
  /// quantize_config.json or quanto_qmap.json. Throws Error (corrupt_data).
  explicit QuantizationConfig(const std::string& text);

  /// What is declared of that layer; `table`: it is an embedding. Throws Error (unsupported: a
  /// method or rule that Octavo does not read, by name; corrupt_data): what is wrong in a group of
  /// layers stops nobody who reads others.
  LayerConfig layer(std::string_view name, bool table = false) const;
  /// Whether it declares that layer by its own name, and not to be left alone.
  bool names(std::string_view layer) const {
    return group_of_name_.contains(layer) && !(left_alone_ && left_alone_->contains(layer));
  }
  /// What the configuration calls the group of that layer; "": it is in none.
  std::string group_name(std::string_view layer) const;
  /// Throws Error (unsupported) where the declared method is not read at all.
  void check_method() const;
  /// The layers that are declared to stay in float, as compressed-tensors spells them.
  std::vector<std::string> left_alone() const {
    return left_alone_ ? left_alone_->as_patterns() : std::vector<std::string>();
  }
  /// What is declared of the KV cache, as compressed-tensors' JSON; empty: nothing.
  const std::string& kv_cache_scheme() const noexcept { return kv_cache_scheme_; }
  /// ModelOpt's name of what compressed-tensors has no scheme for; empty: none.
  const std::string& kv_cache_algorithm() const noexcept { return kv_cache_algorithm_; }

 private:
  friend class ConfigReader;
  /// What holds for a group of layers, or why it cannot be had.
  struct Group {
    LayerConfig rule;
    Status refusal;
    std::string name{};  ///< compressed-tensors': "group_0"
  };
  /// Which of the groups holds for a layer; groups_.size(): none.
  std::size_t group_of(std::string_view name, bool table) const;

  Status refusal_;      ///< why no layer can be had
  LayerConfig common_;  ///< of layers in no group
  std::vector<Group> groups_;
  // Which group holds for a layer: that of its name, else of the first expression that matches,
  // else of its class. groups_.size(): none.
  std::map<std::string, std::size_t, std::less<>> group_of_name_;
  std::optional<NamePatterns> targets_;
  std::vector<std::size_t> group_of_target_;
  std::size_t group_of_all_ = 0;     ///< of linear layers
  std::size_t group_of_tables_ = 0;  ///< of embeddings
  std::optional<LayerList> left_alone_;
  std::string kv_cache_scheme_, kv_cache_algorithm_;
  std::map<std::string, std::vector<std::int64_t>, std::less<>> outlier_columns_;  ///< by layer
};

inline constexpr std::int64_t kBlock = 128;       ///< DeepSeek's block and group length
inline constexpr std::int64_t kMxGroup = 32;      ///< of MX formats
inline constexpr float kOutlierThreshold = 6.0F;  ///< bitsandbytes' default
/// A scale for each row; one for all.
inline constexpr ScaleGrid kRowGrid{1, kWholeExtent}, kTensorGrid{kWholeExtent, kWholeExtent};

/// The rule for activations that are quantised per token.
ActivationQuant per_token_rule(DType dtype);
/// The rule of LLM.int8(): its statistics and codes, outlier columns in float.
ActivationQuant llm_int8_rule(float outlier_threshold);
/// The rule for activations quantised in groups of `length` along K.
ActivationQuant group_rule(DType dtype, std::int64_t length);
/// How tools that write MXFP8 files round the scales of activations: up to a power of two, so that
/// no value is too large. OCP's own rule, mx_floor, makes the largest of many groups smaller.
inline constexpr ScaleRounding kMxRounding = ScaleRounding::power_of_two;
/// The rule of activations in MXFP8 files: groups of 32, scales rounded by kMxRounding.
ActivationQuant mx_rule(DType dtype);

}  // namespace octavo::checkpoint
