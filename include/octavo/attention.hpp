// SPDX-License-Identifier: Apache-2.0
// Attention over keys and values in 8 bits.
#pragma once

#include <cstdint>

#include "octavo/context.hpp"
#include "octavo/export.hpp"
#include "octavo/tensor.hpp"

namespace octavo {

/// The arguments of attention beside queries, keys and values.
struct AttentionOptions {
  // api: AttentionOptions, of api/operations.toml
  /// int32 or int64 [B, P]: the pages of each sequence in order; default: sequence b has page b
  TensorView block_table{};
  /// int32 or int64 [B]: tokens of each sequence, the queries' among them; default: whole pages
  TensorView lengths{};
  /// int32 or int64 [B]: tokens before it are not seen (padding); default: 0
  TensorView starts{};
  /// of scores; 0: 1 / sqrt(D)
  float scale = 0.0F;
  /// how many tokens a query sees at most, itself among them; 0: all
  std::int32_t window = 0;
  /// queries see later tokens, too
  bool bidirectional = false;
  /// [B, T, H, D]; default: allocated by the call
  TensorView out{};
  /// force a backend by name; default: the best that accepts
  const char* backend = nullptr;
  // api: end
};

/// softmax(q K^T * scale) V of queries q [B, T, H, D] (bfloat16, float16 or float32; D at most
/// 1024) over a cache of int8 or float8_e4m3fn codes and float32 scales: keys and values [pages,
/// page_size, H_kv, D] with scales [pages, page_size, H_kv], as `quantize` makes them of rows of D
/// elements. Elements of a head are neighbours; other strides are free. H is a multiple of H_kv.
///
/// The T queries of a sequence are its last T tokens. Beside int8, queries are quantised, too, and
/// products are exact sums of codes; float8_e4m3fn codes meet queries in float32. All of it is in a
/// written order: a row's bits depend on no other row, on threads, nor on how its tokens lie in
/// pages, and are the same on every CPU. Rows that see no token are 0. Source: specification
/// section 7. Throws Error; CUDA devices are refused.
OCTAVO_API Tensor attention(const TensorView& q, const TensorView& keys,
                            const TensorView& key_scales, const TensorView& values,
                            const TensorView& value_scales, const AttentionOptions& options = {},
                            const ExecContext& context = {});

}  // namespace octavo
