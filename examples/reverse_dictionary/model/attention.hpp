// SPDX-License-Identifier: Apache-2.0
// Self-attention of one head over one sentence.
#pragma once

#include <cstdint>
#include <vector>

#include "vector_math.hpp"

namespace reverse_dictionary {

/// Query, key and value rows of one sentence, seen from one head.
struct HeadView {
  const float* query;
  const float* key;
  const float* value;
  std::int64_t tokens;
  std::int64_t width;   ///< features of the head; a multiple of kLanes
  std::int64_t stride;  ///< distance of two tokens' rows
};

/// Memory that calls of one thread share.
struct AttentionScratch {
  struct alignas(64) Row {
    float lanes[kLanes];
  };
  std::vector<Row> rows;
};

/// out[i] = sum over j of softmax(query[i] . key[j] / sqrt(width)) * value[j]; rows of the output
/// are `out_stride` apart.
void attend(const HeadView& head, AttentionScratch& scratch, float* out, std::int64_t out_stride);

}  // namespace reverse_dictionary
