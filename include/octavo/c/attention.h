/* SPDX-License-Identifier: Apache-2.0 */
/* The C ABI of Octavo: attention over keys and values in 8 bits. */
#pragma once

#include "octavo/c/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The arguments of octavo_attention beside queries, keys and values. */
typedef struct octavo_attention_options {
  size_t struct_size;
  /* api: octavo_attention_options, of api/operations.toml */
  /* int32 or int64 [B, P]: the pages of each sequence in order; default: sequence b has page b */
  const octavo_view* block_table;
  /* int32 or int64 [B]: tokens of each sequence, the queries' among them; default: whole pages */
  const octavo_view* lengths;
  /* int32 or int64 [B]: tokens before it are not seen (padding); default: 0 */
  const octavo_view* starts;
  /* [B, T, H, D]; default: allocated by the call */
  const octavo_view* out;
  /* force a backend by name; default: the best that accepts */
  const char* backend;
  /* of scores; 0: 1 / sqrt(D) */
  float scale;
  /* how many tokens a query sees at most, itself among them; 0: all */
  int32_t window;
  /* BIDIRECTIONAL */
  uint32_t flags;
  uint32_t reserved;
  /* api: end */
} octavo_attention_options;
OCTAVO_INIT_FUNCTION_(octavo_attention_options);

/* softmax(q keys^T * scale) values for q [B, T, H, D], int8 or float8_e4m3fn keys and values
   [pages, page_size, H_kv, D] and their float32 scales [pages, page_size, H_kv]; attention.hpp */
OCTAVO_C_API octavo_code octavo_attention(const octavo_view* q, const octavo_view* keys,
                                          const octavo_view* key_scales, const octavo_view* values,
                                          const octavo_view* value_scales,
                                          const octavo_attention_options* options,
                                          const octavo_context* context, octavo_tensor** result);

#ifdef __cplusplus
}
#endif
