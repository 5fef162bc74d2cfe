// SPDX-License-Identifier: Apache-2.0
// What a class of models says that names of tensors do not: which modules are linear, embeddings or
// experts, what the class renames when it loads a file, which heads may be tied.
//
// The table of transformers' classes is architectures.inc, written by
// scripts/architectures/make.py; a file of the user's (layout_file.hpp) describes a class that is
// not in it.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "checkpoint/declared/layer_filter.hpp"
#include "checkpoint/models/module_kind.hpp"
#include "checkpoint/models/name_trees.hpp"

namespace octavo::checkpoint {

/// A class of models.
class Architecture {
 public:
  /// A tensor's module.
  struct Found {
    ModuleKind kind;
    std::string module;  ///< what the class calls it
  };

  /// What a tensor of a file is. `tensor` is without ".weight", and may have the class's spelling
  /// or its files', with or without the prefix of the base model. Nothing: the class has none.
  std::optional<Found> find(std::string_view tensor) const;
  /// Names under which readers look for a linear module of that name: the class's, and that of its
  /// base model, which loads the same folder.
  std::vector<std::string> spellings(const std::string& module) const;
  /// Names of modules, "*" for numbers, with their kinds.
  std::vector<std::pair<std::string, ModuleKind>> modules() const;
  /// Whether the class passes over a tensor that its model has no place for.
  bool passes_over(std::string_view tensor) const;
  /// Whether the class may tie that module, named with "*" for numbers, to another.
  bool is_tied(std::string_view module) const;
  /// Whether the class has stacks of experts whose rows of gate and up alternate.
  bool interleaves_experts() const;

  std::string name;        ///< "LlamaForCausalLM"
  std::string model_type;  ///< "llama"
  std::string prefix;      ///< of the base model in the class: "model"
  std::shared_ptr<const NameTrees> trees;
  std::size_t module_tree = 0, file_tree = 0;
  std::map<std::string, std::string, std::less<>>
      moves;  ///< prefixes of files' names to the class's
  std::map<std::string, std::string, std::less<>> ties;  ///< modules that may be tied, to which
  std::vector<std::string> unexpected;  ///< expressions: names that are passed over
  /// Whether loading makes several weights of one, or one of several, experts apart.
  bool splits_weights = false, joins_weights = false;

 private:
  std::optional<Found> find_exact(std::string_view tensor) const;
  std::string moved(std::string_view tensor) const;
};

/// The release of transformers whose classes the table has: "5.23.0".
std::string_view table_release();

/// The class that a config.json names ("architectures"), else that of its "model_type" which has
/// most of `tensors`; null where the table has neither. The table lives as long as the process.
const Architecture* architecture_of(std::string_view config,
                                    const std::vector<TensorEntry>& tensors);

/// Whether classes of that type have stacks of experts whose rows of gate and up alternate.
bool type_interleaves_experts(std::string_view model_type);

/// config.json's "model_type"; empty where it has none.
std::string model_type_of(std::string_view config);

}  // namespace octavo::checkpoint
