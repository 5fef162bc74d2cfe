// SPDX-License-Identifier: Apache-2.0
// Experts stacked in one tensor, and the linear layers that they are.
//
//   stack "x.experts.gate_up_proj"      [E, 2 I, H], or [E, H, 2 I] (gpt-oss, Llama 4)
//   layers "x.experts.3.gate_proj"      rows 0 .. I - 1 of expert 3, or rows 0, 2, 4, ... (gpt-oss)
//          "x.experts.3.up_proj"        rows I .. 2 I - 1, or rows 1, 3, 5, ...
//   stack "x.experts.down_proj"         [E, H, I], or [E, I, H]
//   layer "x.experts.3.down_proj"       all rows of expert 3
//
// Any other stack "x.experts.w2" [E, N, K] is layers "x.experts.3.w2".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/checkpoint/linear_layers.hpp"

namespace octavo::checkpoint {

inline constexpr std::int64_t kMostExperts = std::int64_t{1} << 16;

/// How the experts of a stack [E, a, b] lie.
struct StackOrder {
  bool rows_are_inputs = false;  ///< [E, K, N]; else [E, N, K]
  bool interleaved = false;      ///< rows of gate and up alternate
};

/// Rows of an expert [N, K] that are one linear layer: first, first + step, ...
struct ExpertRows {
  std::int64_t first = 0, step = 1, count = 0;
};

/// A linear layer that lies in a stack.
struct ExpertLayer {
  std::string layer;  ///< "x.experts.3.up_proj"
  std::int64_t expert = 0;
  ExpertRows rows;
  MatrixPlace at;  ///< in the stack's tensor
};

/// Whether the two stacks of a model, gate_up_proj and down_proj, are stored as [E, K, N], which
/// their shapes tell; nothing where they do not fit together.
std::optional<bool> rows_are_inputs(const TensorEntry& gate_up, const TensorEntry& down);

/// The name of the stack that gate_up_proj or down_proj belongs together with; nothing for others.
std::optional<std::string> partner_of(std::string_view stack);

/// All layers of a stack, expert by expert. `stack`: its name, without ".weight".
std::vector<ExpertLayer> layers_of_stack(std::string_view stack, const TensorEntry& entry,
                                         const StackOrder& order);

/// The stacks that a layer may lie in by its name.
struct StackOfLayer {
  std::string stack;
  std::int64_t expert = 0;
  std::size_t part = 0;  ///< among the layers of an expert
};
std::vector<StackOfLayer> stacks_of_layer(std::string_view layer);

/// One of them; nothing where the stack has no such expert or part.
std::optional<ExpertLayer> layer_of_stack(const StackOfLayer& layer, const TensorEntry& entry,
                                          const StackOrder& order);

/// The layers that a stack of float experts consists of. None for any other tensor.
std::vector<ExpertLayer> float_experts(const Checkpoint& in, const TensorEntry& entry);

/// The biases that a tensor "x.experts.gate_up_proj_bias" [E, N] holds: the stack's layers, each
/// with the place of its bias as a matrix [1, N]. None for any other tensor. `stack`: set to the
/// name of the stack.
std::vector<ExpertLayer> expert_biases(const Checkpoint& in, const TensorEntry& entry,
                                       std::string& stack);

}  // namespace octavo::checkpoint
