// SPDX-License-Identifier: Apache-2.0
// Lines of fused experts: what problem lines are to products.
//
//   fused_experts e4m3fn:e4m3fn:bf16 experts=64 topk=8 scale=token:channel 16x768x2048
//
// The operation; the types of activations in the products, weights, and x and output; words in any
// order; tokens x inner size x hidden size: w13 is [experts, 2 * inner, hidden], w2 [experts,
// hidden, inner]. Activations of a float type meet the weights as they are.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "kit/lines/line_words.hpp"
#include "octavo/quantize.hpp"

namespace octavo::kit {

struct ExpertsLine {
  DType a = DType::undefined, weight = DType::undefined, out = DType::undefined;
  std::int64_t experts = 0, topk = 0;  ///< experts=64 topk=8
  Granularity scale_a, scale_b;        ///< scale=token:channel; of the stored weight [N, K]
  std::int64_t tokens = 0, inner = 0, hidden = 0;
  std::uint64_t seed = 1;  ///< seed=7

  /// How activations are quantised; none where they are multiplied as they are.
  std::optional<QuantizeOptions> quantizer() const;
};

/// Throws Error (invalid_argument) naming the word that is wrong and what would be right.
ExpertsLine parse_experts_line(std::string_view line);

LineHelp experts_line_help();

/// The canonical spelling.
std::string to_string(const ExpertsLine& line);

}  // namespace octavo::kit
