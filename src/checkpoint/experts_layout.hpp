// SPDX-License-Identifier: Apache-2.0
// Experts stacked in one tensor [E, N, K], and the linear layers that they are.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

/// Rows of a stack, read as a matrix of rows of K, that are the weight of one linear layer.
struct ExpertRows {
  std::string layer;  ///< "x.experts.3.up_proj"
  std::int64_t first_row = 0, rows = 0;
};

/// The layers that a stack consists of, expert by expert: two for "x.experts.gate_up_proj"
/// [E, 2 I, H], one for "x.experts.down_proj" [E, H, I]. None for any other tensor, and for stacks
/// that are stored as [E, K, N] (gpt-oss, Llama 4), which the shapes of the two tell.
std::vector<ExpertRows> expert_layers(const Checkpoint& in, const TensorEntry& entry);

}  // namespace octavo::checkpoint
