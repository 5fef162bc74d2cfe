// SPDX-License-Identifier: Apache-2.0
// Names of modules as trees; branches that are alike are kept once.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/models/module_kind.hpp"

namespace octavo::checkpoint {

/// Trees by number. A child is a part of a dotted name, or "*", which is any number.
class NameTrees {
 public:
  /// Adds a tree, a line of architectures.inc: parts of names, each with a kind or the number of an
  /// earlier tree; the part "=" has the kind of what stands at the tree itself.
  void add(std::string_view line);
  /// Adds a name under a tree that no other shares.
  void add(std::size_t tree, std::string_view name, ModuleKind kind);
  std::size_t add_empty();

  std::optional<ModuleKind> find(std::size_t tree, std::string_view name) const;
  /// Calls `told` with each name of a tree, "*" for numbers, and its kind.
  void each(std::size_t tree,
            const std::function<void(const std::string&, ModuleKind)>& told) const;
  std::size_t size() const noexcept { return trees_.size(); }

 private:
  struct Child {
    std::string part;
    std::optional<ModuleKind> kind;   ///< of the name that ends here
    std::optional<std::size_t> tree;  ///< what follows
  };
  using Tree = std::vector<Child>;

  static const Child* child_of(const Tree& tree, std::string_view part);
  std::optional<ModuleKind> own_kind(std::size_t tree) const;

  std::vector<Tree> trees_;
};

/// The text before the next `separator`, which goes from `rest` with it.
std::string_view take(std::string_view& rest, char separator);

/// Whether a part of a name is a number.
bool is_number(std::string_view part) noexcept;

}  // namespace octavo::checkpoint
