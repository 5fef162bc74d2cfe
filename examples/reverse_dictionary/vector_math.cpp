// SPDX-License-Identifier: Apache-2.0
// Loops over rows of lanes; see multiversion.hpp for the vector widths they become.
#include "vector_math.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

#include "multiversion.hpp"

namespace reverse_dictionary {
namespace {

using Lanes = float[kLanes];

/// Joins the upper half of the lanes to the lower one until one is left; unrolled, because the
/// halves would otherwise wait for each other in memory.
template <class Join>
inline float reduce(const Lanes& lanes, Join join) {
  float half[8];
  float quarter[4];
  for (std::size_t i = 0; i < 8; ++i) half[i] = join(lanes[i], lanes[i + 8]);
  for (std::size_t i = 0; i < 4; ++i) quarter[i] = join(half[i], half[i + 4]);
  return join(join(quarter[0], quarter[2]), join(quarter[1], quarter[3]));
}
static_assert(kLanes == 16);

inline float sum_of(const Lanes& lanes) {
  return reduce(lanes, [](float a, float b) { return a + b; });
}

inline float largest_of(const Lanes& lanes) {
  return reduce(lanes, [](float a, float b) { return a > b ? a : b; });
}

}  // namespace

REVERSE_DICTIONARY_MULTIVERSION
void gelu(std::span<float> values) {
  float* x = values.data();
  for (std::size_t i = 0; i < values.size(); ++i) x[i] = fast_gelu(x[i]);
}

REVERSE_DICTIONARY_MULTIVERSION
void softmax(float* values, std::size_t count, float scale) {
  if (count == 0) return;
  const std::size_t padded = (count + kLanes - 1) / kLanes * kLanes;
  for (std::size_t i = count; i < padded; ++i) values[i] = std::numeric_limits<float>::lowest();
  Lanes top;
  for (std::size_t lane = 0; lane < kLanes; ++lane) top[lane] = values[lane];
  for (std::size_t i = kLanes; i < padded; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      top[lane] = values[i + lane] > top[lane] ? values[i + lane] : top[lane];
    }
  }
  const float largest = largest_of(top);
  for (std::size_t i = 0; i < padded; ++i) values[i] = fast_exp(scale * (values[i] - largest));
  Lanes sum{};  // the values behind the row add less than 1e-36
  for (std::size_t i = 0; i < padded; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) sum[lane] += values[i + lane];
  }
  const float inverse = 1.0F / sum_of(sum);
  for (std::size_t i = 0; i < padded; ++i) values[i] *= inverse;
}

REVERSE_DICTIONARY_MULTIVERSION
void add_layer_norm(const float* x, const float* residual, const LayerNorm& norm, float* out) {
  const std::size_t width = norm.gain.size();
  for (std::size_t i = 0; i < width; ++i) out[i] = x[i] + residual[i];
  Lanes sum{};
  for (std::size_t i = 0; i < width; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) sum[lane] += out[i + lane];
  }
  const float count = static_cast<float>(width);
  const float mean = sum_of(sum) / count;
  Lanes squares{};
  for (std::size_t i = 0; i < width; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const float difference = out[i + lane] - mean;
      squares[lane] += difference * difference;
    }
  }
  const float scale = 1.0F / std::sqrt(sum_of(squares) / count + norm.epsilon);
  const float* gain = norm.gain.data();
  const float* bias = norm.bias.data();
  for (std::size_t i = 0; i < width; ++i) out[i] = (out[i] - mean) * scale * gain[i] + bias[i];
}

REVERSE_DICTIONARY_MULTIVERSION
float dot(std::span<const float> a, std::span<const float> b) {
  Lanes sum{};
  for (std::size_t i = 0; i < a.size(); i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) sum[lane] += a[i + lane] * b[i + lane];
  }
  return sum_of(sum);
}

void l2_normalize(std::span<float> values) {
  const float scale = 1.0F / std::max(std::sqrt(dot(values, values)), 1e-12F);
  for (float& value : values) value *= scale;
}

REVERSE_DICTIONARY_MULTIVERSION
void row_times_matrix(std::span<const float> row, const float* matrix, std::int64_t stride,
                      std::int64_t columns, float* out) {
  constexpr auto kBlock = static_cast<std::int64_t>(kLanes);
  for (std::int64_t c = 0; c < columns; c += kBlock) {
    Lanes sum{};
    const float* block = matrix + c;
    for (const float factor : row) {
      for (std::size_t lane = 0; lane < kLanes; ++lane) sum[lane] += factor * block[lane];
      block += stride;
    }
    std::copy(std::begin(sum), std::end(sum), out + c);
  }
}

}  // namespace reverse_dictionary
