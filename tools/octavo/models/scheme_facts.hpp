// SPDX-License-Identifier: Apache-2.0
// What each scheme is: the table behind `octavo schemes` and the help of --scheme.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "octavo/checkpoint.hpp"
#include "words.hpp"

namespace octavo::cli {

struct SchemeFacts {
  Scheme scheme;
  const char* weight;                       ///< codes, and what has a scale
  const char* activations;                  ///< at run time
  std::int64_t scale_bytes, rows, columns;  ///< of a scale; the weights under it, 0: all
  /// The mean cross entropy less the float model's, in nats: docs/accuracy.md, without SmoothQuant.
  double loss;
  const char* format;   ///< whose terms files are in
  const char* loaders;  ///< beside Octavo; docs/checkpoints.md has the proof

  /// Codes and scales of a weight [n, k].
  constexpr double bytes_per_weight(std::int64_t n, std::int64_t k) const noexcept {
    const std::int64_t high = rows == 0 ? n : rows, wide = columns == 0 ? k : columns;
    const std::int64_t scales = ((n + high - 1) / high) * ((k + wide - 1) / wide);
    return 1.0 + static_cast<double>(scales * scale_bytes) / static_cast<double>(n * k);
  }
};

inline constexpr std::array kSchemeFacts{
    SchemeFacts{Scheme::int8_dynamic, "int8 per output channel", "int8 per token", 4, 1, 0, 0.0339,
                "compressed-tensors", "transformers, vLLM"},
    SchemeFacts{Scheme::fp8_dynamic, "e4m3fn per output channel", "e4m3fn per token", 4, 1, 0,
                0.0220, "compressed-tensors", "transformers, vLLM"},
    SchemeFacts{Scheme::fp8_block, "e4m3fn per 128x128 block", "e4m3fn per group of 128", 4, 128,
                128, 0.0273, "fp8", "transformers, vLLM"},
    SchemeFacts{Scheme::llm_int8, "int8 per output channel",
                "int8 per token, outlier columns in float", 4, 1, 0, 0.0189, "bitsandbytes",
                "transformers"},
    SchemeFacts{Scheme::int8_weight_only, "int8 per output channel", "as they are", 4, 1, 0, 0.0018,
                "compressed-tensors", "transformers, vLLM"},
    SchemeFacts{Scheme::fp8_weight_only, "e4m3fn per output channel", "as they are", 4, 1, 0,
                0.0125, "compressed-tensors", "transformers, vLLM"},
    SchemeFacts{Scheme::mxfp8, "e4m3fn per group of 32, powers of two", "e4m3fn per group of 32", 1,
                1, 32, 0.0699, "compressed-tensors", "transformers, vLLM"},
};
static_assert(std::ranges::equal(kSchemeFacts, kSchemes, {}, &SchemeFacts::scheme),
              "each scheme has a row, in the order of kSchemes");

}  // namespace octavo::cli
