// SPDX-License-Identifier: Apache-2.0
// Which tensors of a file are weights of linear layers that are to be quantised.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

/// "x.y" of "x.y.weight"; nothing for any other name.
std::optional<std::string_view> layer_of(std::string_view tensor) noexcept;

/// The lists "ignore" of quantisation tools: exact names, or regular expressions "re:..." that have
/// to match at the start, as Python's re.match does.
class NamePatterns {
 public:
  /// Throws Error (invalid_argument) for an expression that is none. `operation` begins the
  /// sentence.
  NamePatterns(const char* operation, const std::vector<std::string>& patterns);
  ~NamePatterns();
  bool match(std::string_view name) const;

 private:
  struct Expressions;
  std::vector<std::string> exact_;
  std::unique_ptr<Expressions> expressions_;
};

/// What quantising does with a tensor.
enum class Treatment : std::uint8_t {
  quantise,
  keep_layer,  ///< a 2-D float weight that stays as it is: an embedding, a norm, the head, ignored
  copy,        ///< no weight of a linear layer
};
Treatment treatment(const TensorEntry& entry, const NamePatterns& ignored);

}  // namespace octavo::checkpoint
