// SPDX-License-Identifier: Apache-2.0
// Which tensors of a model are linear layers to quantise: by its class, where that is known; else
// by their names, and a line says so.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/declared/layer_filter.hpp"
#include "checkpoint/models/model_class.hpp"
#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

/// Whether a tensor is a layer's float matrix by name, shape and type.
bool is_float_matrix(const TensorEntry& entry);

/// How readers of a format multiply its layers.
enum class Readers : std::uint8_t {
  decompress,   ///< compressed-tensors: the float weight is there for whoever looks at it
  fp8_modules,  ///< modules in the place of torch.nn.Linear itself
  int8_modules  ///< bitsandbytes: modules in the place of torch.nn.Linear and its subclasses
};
/// Whether layers of that kind stay in float for such readers.
bool stays_for(Readers readers, ModuleKind kind) noexcept;

/// An entry of a list of layers in float as those readers take it: compressed-tensors marks
/// expressions, the others take every entry as one.
std::string listed_for(Readers readers, std::string entry);

class LayerChoice {
 public:
  /// `guess`: whether names decide where they leave open what a tensor is.
  LayerChoice(const Checkpoint& in, const NamePatterns& ignored, Readers readers, bool guess);

  Treatment of(const TensorEntry& entry);
  /// A layer that loading merges into a stack of experts and that stays in float; empty: none does.
  /// Of layers that `stays` was told of.
  const std::string& float_expert() const noexcept { return float_expert_; }
  void stays(std::string_view layer);
  /// The folder has that layer, under whatever names of tensors.
  void saw(std::string_view layer);
  /// The names under which readers may look for a layer that stays in float.
  std::vector<std::string> kept_names(std::string_view layer) const;
  /// Linear modules of which the folder has no tensor: tied heads. Readers would make quantised
  /// layers of them; spelled as `listed_for` has them. To be called behind `of` or `saw` for all
  /// that is there.
  std::vector<std::string> absent() const;
  /// Throws Error (invalid_argument) where names leave open what a tensor is, unless `guess`.
  void check(const char* operation) const;
  /// A line that says what was taken by its name; none where the class is known.
  std::vector<std::string> notes(const char* operation) const;

 private:
  Treatment of_known(const Architecture::Found& found) const;
  Treatment of_name(const TensorEntry& entry);
  bool is_open(const TensorEntry& entry) const;
  bool has_tied_head() const;

  const Checkpoint& in_;
  const ModelClass& model_;
  const NamePatterns& ignored_;
  Readers readers_;
  bool guess_;
  std::set<std::int64_t> table_rows_;  ///< of index tables, by config.json
  std::string float_expert_;
  std::set<std::string> there_;  ///< the class's names of what the folder has
  std::vector<const TensorEntry*> taken_, left_, open_;  ///< by their names alone
};

}  // namespace octavo::checkpoint
