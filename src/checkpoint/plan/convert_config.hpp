// SPDX-License-Identifier: Apache-2.0
// The configuration of converted layers.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

/// The operation that does this, in its errors.
inline constexpr const char* kConvertFile = "convert_file";

/// Collects what the layers of a file say, and writes it as one "quantization_config".
class ConvertedConfig {
 public:
  explicit ConvertedConfig(Format format) noexcept : format_(format) {}

  /// A layer as the format says it.
  void add(const std::string& layer, const Weight& weight);
  /// A layer that is copied, with compressed-tensors' group that the source declares it in.
  void add_declared(const std::string& layer, const std::string& group) {
    declared_[group].push_back(layer);
  }
  bool empty() const noexcept { return layers_ == 0; }
  /// How the KV cache is quantised, as compressed-tensors' JSON; empty: not.
  void set_kv_cache_scheme(std::string scheme) { kv_cache_scheme_ = std::move(scheme); }
  /// Whether some activations are static and others not, which format fp8 cannot say.
  bool mixes_static() const noexcept { return static_layers_ != 0 && static_layers_ != layers_; }
  /// `kept`: linear layers that stay in float. Throws Error (invalid_argument) for what one file of
  /// the format cannot say.
  std::string text(const std::vector<std::string>& kept) const;

 private:
  std::string compressed_tensors(const std::string& kept) const;
  std::string bitsandbytes(const std::string& kept) const;

  struct Group {
    std::vector<std::string> layers;
    std::string format;  ///< compressed-tensors' name
    std::optional<ActivationQuant> rule;
  };

  Format format_;
  std::string kv_cache_scheme_;
  std::map<std::string, Group> groups_;  ///< by what compressed-tensors says of them
  std::map<std::string, std::vector<std::int64_t>> columns_;
  std::map<std::string, std::vector<std::string>> declared_;
  int static_layers_ = 0, layers_ = 0;
};

}  // namespace octavo::checkpoint
