// SPDX-License-Identifier: Apache-2.0
// The arguments of products, which explanations, measurements and gradients take as well.
#pragma once

#include <deque>
#include <span>
#include <vector>

#include "capi/operand.hpp"
#include "capi/options.hpp"

namespace octavo::capi {

/// A supplied output makes the handle of the result optional.
inline bool result_optional(const TensorView& out) noexcept { return out.defined(); }

/// The arguments of a list for the length of a call.
class ListArguments {
 public:
  /// `place` is that of the options.
  ListArguments(const ArgumentPath& place, const octavo_operand* const* inputs,
                const octavo_operand* const* weights, std::size_t count,
                const octavo_grouped_list_options* given);
  ListArguments(const ListArguments&) = delete;
  ListArguments& operator=(const ListArguments&) = delete;

  std::span<const Operand> inputs() const noexcept { return inputs_.operands; }
  std::span<const Operand> weights() const noexcept { return weights_.operands; }
  const GroupedListOptions& options() const noexcept { return options_; }

 private:
  // The arguments own what operands point to.
  struct Operands {
    std::deque<OperandArgument> arguments;
    std::vector<Operand> operands;
    Operands(const ArgumentPath& place, const octavo_operand* const* given, std::size_t count);
  };

  Operands inputs_, weights_;
  std::vector<TensorView> biases_, outs_;
  std::vector<Scale> scales_a_, scales_b_;
  GroupedListOptions options_;
};

/// What a product with PyTorch's recipes is called with.
struct RecipeCall {
  const octavo_view *mat_a, *mat_b;
  const octavo_recipe_scale* scale_a;
  int64_t scale_a_count;
  const octavo_recipe_scale* scale_b;
  int64_t scale_b_count;
  const octavo_functional_options* options;
};

/// The same as C++ has it.
struct RecipeArguments {
  /// `place` is that of the options.
  RecipeArguments(const ArgumentPath& place, const RecipeCall& call);

  functional::Options options;
  TensorView mat_a, mat_b;
  std::vector<functional::RecipeScale> scale_a, scale_b;
};

}  // namespace octavo::capi
