// SPDX-License-Identifier: Apache-2.0
// Scores of one query against all keys form one row; a row is all that is kept at a time.
#include "attention.hpp"

#include <cmath>
#include <cstddef>
#include <span>

#include "vector_math.hpp"

namespace reverse_dictionary {
namespace {

/// Keys to [width, padded], zero behind the last token, so that scores are computed in lanes.
void transpose_keys(const HeadView& head, std::int64_t padded, std::vector<float>& keys) {
  keys.assign(static_cast<std::size_t>(head.width * padded), 0.0F);
  for (std::int64_t token = 0; token < head.tokens; ++token) {
    const float* key = head.key + token * head.stride;
    float* column = keys.data() + token;
    for (std::int64_t d = 0; d < head.width; ++d) column[d * padded] = key[d];
  }
}

}  // namespace

void attend(const HeadView& head, AttentionScratch& scratch, float* out) {
  constexpr auto kBlock = static_cast<std::int64_t>(kLanes);
  const std::int64_t padded = (head.tokens + kBlock - 1) / kBlock * kBlock;
  const auto tokens = static_cast<std::size_t>(head.tokens);
  const auto width = static_cast<std::size_t>(head.width);
  const float scale = 1.0F / std::sqrt(static_cast<float>(head.width));
  transpose_keys(head, padded, scratch.keys);
  scratch.scores.resize(static_cast<std::size_t>(padded));
  float* scores = scratch.scores.data();
  for (std::int64_t token = 0; token < head.tokens; ++token) {
    const std::int64_t row = token * head.stride;
    row_times_matrix({head.query + row, width}, scratch.keys.data(), padded, padded, scores);
    softmax(scores, tokens, scale);
    row_times_matrix({scores, tokens}, head.value, head.stride, head.width, out + row);
  }
}

}  // namespace reverse_dictionary
