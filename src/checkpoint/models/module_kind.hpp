// SPDX-License-Identifier: Apache-2.0
// What a tensor of a model is, by the module that holds it.
#pragma once

#include <cstdint>

namespace octavo::checkpoint {

/// The letters of architectures.inc. The tensor of a module "x" is "x.weight".
enum class ModuleKind : char {
  linear = 'L',
  protected_linear = 'W',  ///< stays in float where readers multiply codes
  like_linear = 'F',       ///< a subclass that multiplies as torch.nn.Linear: float in fp8 blocks
  kept_linear = 'K',       ///< stays in float by default: a head, a router, a classifier
  other_linear = 'S',      ///< a subclass with a product of its own: stays in float
  conv1d = 'C',            ///< transformers' Conv1D [K, N]
  embedding = 'E',
  experts = 'X',              ///< a stack [E, N, K] or [E, K, N], gate before up
  interleaved_experts = 'I',  ///< a stack whose rows of gate and up alternate
  expert = 'Z',               ///< a linear layer that loading merges into a stack
  remade = 'M',               ///< loading merges, splits or turns it: stays in float
  parameter = 'P',            ///< any other of two or three dimensions
};

/// Whether the module is a torch.nn.Linear for readers that look for the class.
constexpr bool is_linear(ModuleKind kind) noexcept {
  return kind == ModuleKind::linear || kind == ModuleKind::protected_linear ||
         kind == ModuleKind::like_linear || kind == ModuleKind::kept_linear ||
         kind == ModuleKind::other_linear;
}

}  // namespace octavo::checkpoint
