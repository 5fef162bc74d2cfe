// SPDX-License-Identifier: Apache-2.0
// A model of one's own: a JSON file that says what its modules are.
//
//   {"class": "MyForCausalLM", "prefix": "model",
//    "linear": ["model.layers.*.attn.qkv"], "conv1d": [], "experts":
//    ["model.layers.*.moe.gate_up_proj"], "interleaved_experts": [], "embedding": ["model.embed"],
//    "float": ["head"], "tied": {"head": "model.embed"}, "renamed": {"transformer": "model"}}
//
// Names are those of tensors without ".weight"; "*" stands for a number. Every field is optional.
#pragma once

#include <string>

#include "checkpoint/models/architecture.hpp"

namespace octavo::checkpoint {

/// The class that a layout file describes. `text`: its content. Throws Error (invalid_argument).
Architecture architecture_of_layout(const std::string& text);

}  // namespace octavo::checkpoint
