// SPDX-License-Identifier: Apache-2.0
// Llama 3.1's rotary embeddings: a rule in config.json, a factor for each frequency in a GGUF file.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace octavo::checkpoint {

/// rope_type "llama3".
struct Llama3Rope {
  double factor = 8;
  double low_frequency = 1, high_frequency = 4;
  double length = 8192;  ///< original_max_position_embeddings
};

/// The factors of a head of so many elements.
std::vector<float> llama3_factors(const Llama3Rope& rule, double base, std::int64_t head);

/// The rule with Meta's frequencies and length that gives those factors; nothing where none does.
std::optional<Llama3Rope> llama3_rope_of(std::span<const float> factors, double base);

}  // namespace octavo::checkpoint
