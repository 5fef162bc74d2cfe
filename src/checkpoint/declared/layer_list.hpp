// SPDX-License-Identifier: Apache-2.0
// The lists of layers that quantisation tools leave in float, each tool's in its own spelling.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/declared/layer_filter.hpp"

namespace octavo::checkpoint {

/// How names in such a list are meant.
enum class Spelling : std::uint8_t {
  patterns,  ///< compressed-tensors: exact, or "re:..." matched at the start
  modules,  ///< transformers, vLLM: a module, which holds the layers below it, or the end of a name
  wildcards,  ///< ModelOpt: exact or with * ? [...] over the whole name, of a layer or a module
};

/// A name with * ? [...] as a pattern of NamePatterns; other names as they are.
std::string wildcard_pattern(std::string_view name);

class LayerList {
 public:
  /// Throws Error (corrupt_data) for patterns that are none or too many.
  LayerList(Spelling spelling, std::vector<std::string> names);
  /// Whether that layer is in the list.
  bool contains(std::string_view layer) const;
  /// The list as compressed-tensors spells it: names, and expressions behind "re:".
  const std::vector<std::string>& as_patterns() const noexcept { return all_; }

 private:
  Spelling spelling_ = Spelling::patterns;
  std::vector<std::string> all_;
  std::set<std::string, std::less<>> exact_;
  std::optional<NamePatterns> patterns_;
};

}  // namespace octavo::checkpoint
