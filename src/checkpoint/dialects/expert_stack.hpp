// SPDX-License-Identifier: Apache-2.0
// Quantised experts stored in one tensor with their scales in another.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "checkpoint/dialects/expert_layers.hpp"
#include "checkpoint/dialects/matrix_place.hpp"
#include "checkpoint/open/open_checkpoint.hpp"
#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

/// The tensors of a stack.
struct StoredStack {
  std::string prefix;  ///< "x.experts.gate_up_proj"
  const TensorEntry* codes = nullptr;
  const TensorEntry* scale = nullptr;
  const TensorEntry* input_scale = nullptr;  ///< null: none
};

/// The stack of that prefix; nothing where its codes or scale are missing.
std::optional<StoredStack> find_stack(const Header& header, const std::string& prefix);

/// All stacks, by their prefixes.
std::vector<StoredStack> stored_stacks(const Header& header);

/// The layers that a stack consists of by name: nothing of it is checked but its number of experts.
std::vector<std::string> names_in_stack(const StoredStack& stack);

/// The canonical weight of a layer "x.experts.3.up_proj" that lies in a stack, of which only that
/// expert is read, or, where `in_place` is not null, of its codes nothing; nothing where the file
/// has no such stack. Throws Error.
std::optional<Weight> stacked_weight(const Checkpoint::Impl& in, const std::string& layer,
                                     CodesInPlace* in_place = nullptr);

/// An expert as its tensor stores it, [a, b]: what its slice of the stack stands for. Throws Error.
Weight stored_expert(const Checkpoint::Impl& in, const StoredStack& stack, std::int64_t expert);

}  // namespace octavo::checkpoint
