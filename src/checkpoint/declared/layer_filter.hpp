// SPDX-License-Identifier: Apache-2.0
// Which tensors of a file are weights of linear layers that are to be quantised.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

/// What an expression begins with in lists of layers.
inline constexpr std::string_view kExpressionMark = "re:";

/// "x.y" of "x.y.weight"; nothing for any other name.
std::optional<std::string_view> layer_of(std::string_view tensor) noexcept;

/// The lists "ignore" and "targets" of quantisation tools: exact names, or regular expressions
/// "re:..." that have to match at the start, as Python's re.match does.
///
/// Lists come from untrusted files. Expressions are compiled once; a match takes the logarithm of
/// the number of exact names, and for each expression time linear in the name.
class NamePatterns {
 public:
  static constexpr std::size_t kMostExpressions = 1000;
  static constexpr std::size_t kLongestExpression = 1000;  ///< bytes
  /// Of one expression, compiled and matching: 1000 of them stay below 256 MiB.
  static constexpr std::int64_t kExpressionMemory = std::int64_t{1} << 18;

  /// Throws Error (`code`) for an expression that is none, or more of them or longer ones than the
  /// limits above. `operation` begins the sentence.
  NamePatterns(const char* operation, Code code, const std::vector<std::string>& patterns);
  NamePatterns(NamePatterns&&) noexcept;
  ~NamePatterns();
  /// The index of the first pattern of the list that matches.
  std::optional<std::size_t> first(std::string_view name) const;
  bool match(std::string_view name) const { return first(name).has_value(); }

 private:
  struct Expression;
  std::map<std::string, std::size_t, std::less<>> exact_;  ///< their indices in the list
  std::vector<Expression> expressions_;
};

/// What quantising does with a tensor.
enum class Treatment : std::uint8_t {
  quantize,
  keep_layer,  ///< a 2-D float weight that stays as it is: an embedding, a norm, the head, ignored
  copy,        ///< no weight of a linear layer
};
Treatment treatment(const TensorEntry& entry, const NamePatterns& ignored);

/// Whether a tensor that is copied may be what other tools quantise: a float matrix without the
/// suffix, or a stack of them such as fused experts [E, N, K].
bool looks_linear(const TensorEntry& entry);

}  // namespace octavo::checkpoint
