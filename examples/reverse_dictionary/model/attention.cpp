// SPDX-License-Identifier: Apache-2.0
// A lane is a query: sixteen of them meet one key after the other, and the softmax of each stays in
// its lane, so that nothing is ever summed across lanes.
#include "attention.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "multiversion.hpp"
#include "vector_math.hpp"

namespace reverse_dictionary {
namespace {

constexpr auto kQueries = static_cast<std::int64_t>(kLanes);
/// Keys, or features of the values, that are summed together: a sum alone would wait for itself.
constexpr std::int64_t kTogether = 8;

using Vec = float __attribute__((vector_size(kLanes * sizeof(float)), may_alias));

/// sums[i] = sum over j of left[i * row + j * column] * right[j], for i below `count`.
inline __attribute__((always_inline)) void products(const float* left, std::int64_t row,
                                                    std::int64_t column, std::int64_t count,
                                                    const Vec* right, std::int64_t length,
                                                    Vec* sums) {
  for (std::int64_t i = 0; i < count && count >= kTogether; i += kTogether) {
    const std::int64_t begin = std::min(i, count - kTogether);  // the last turn may repeat sums
    const float* block = left + begin * row;
    Vec s0{}, s1{}, s2{}, s3{}, s4{}, s5{}, s6{}, s7{};
    for (std::int64_t j = 0; j < length; ++j) {
      const float* factor = block + j * column;
      s0 += factor[0] * right[j];
      s1 += factor[row] * right[j];
      s2 += factor[2 * row] * right[j];
      s3 += factor[3 * row] * right[j];
      s4 += factor[4 * row] * right[j];
      s5 += factor[5 * row] * right[j];
      s6 += factor[6 * row] * right[j];
      s7 += factor[7 * row] * right[j];
    }
    Vec* sum = sums + begin;
    sum[0] = s0, sum[1] = s1, sum[2] = s2, sum[3] = s3;
    sum[4] = s4, sum[5] = s5, sum[6] = s6, sum[7] = s7;
  }
  for (std::int64_t i = 0; i < count && count < kTogether; ++i) {
    Vec sum{};
    for (std::int64_t j = 0; j < length; ++j) sum += left[i * row + j * column] * right[j];
    sums[i] = sum;
  }
}

/// Scores [tokens] to weights that add up to 1 / `inverse`.
inline __attribute__((always_inline)) void softmax(float* scores, std::int64_t tokens,
                                                   float* inverse) {
  float top[kLanes];
  float sum[kLanes] = {};
  for (std::size_t lane = 0; lane < kLanes; ++lane) top[lane] = scores[lane];
  for (std::int64_t i = 1; i < tokens; ++i) {
    const float* row = scores + i * kQueries;
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      top[lane] = row[lane] > top[lane] ? row[lane] : top[lane];
    }
  }
  for (std::int64_t i = 0; i < tokens; ++i) {
    float* row = scores + i * kQueries;
    for (std::size_t lane = 0; lane < kLanes; ++lane) row[lane] = fast_exp(row[lane] - top[lane]);
    for (std::size_t lane = 0; lane < kLanes; ++lane) sum[lane] += row[lane];
  }
  for (std::size_t lane = 0; lane < kLanes; ++lane) inverse[lane] = 1.0F / sum[lane];
}

}  // namespace

REVERSE_DICTIONARY_MULTIVERSION
void attend(const HeadView& head, AttentionScratch& scratch, float* out, std::int64_t out_stride) {
  const std::int64_t width = head.width;
  const float scale = 1.0F / std::sqrt(static_cast<float>(width));
  const auto rows = static_cast<std::size_t>(width + head.tokens);
  if (scratch.rows.size() < rows) scratch.rows.resize(rows);
  Vec* turned = reinterpret_cast<Vec*>(scratch.rows.data());  // [width]: queries, then results
  Vec* scores = turned + width;                               // [tokens]
  float* lanes = scratch.rows.data()->lanes;
  for (std::int64_t first = 0; first < head.tokens; first += kQueries) {
    const std::int64_t queries = std::min(kQueries, head.tokens - first);
    if (queries < kQueries) std::fill(lanes, lanes + width * kQueries, 0.0F);
    for (std::int64_t q = 0; q < queries; ++q) {
      const float* query = head.query + (first + q) * head.stride;
      for (std::int64_t d = 0; d < width; ++d) lanes[d * kQueries + q] = query[d] * scale;
    }
    float inverse[kLanes];
    products(head.key, head.stride, 1, head.tokens, turned, width, scores);
    softmax(lanes + width * kQueries, head.tokens, inverse);
    products(head.value, 1, head.stride, width, scores, head.tokens, turned);
    for (std::int64_t q = 0; q < queries; ++q) {
      float* result = out + (first + q) * out_stride;
      for (std::int64_t d = 0; d < width; ++d) result[d] = lanes[d * kQueries + q] * inverse[q];
    }
  }
}

}  // namespace reverse_dictionary
