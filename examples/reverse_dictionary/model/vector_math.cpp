// SPDX-License-Identifier: Apache-2.0
// Loops over rows of lanes; see multiversion.hpp for the vector widths they become.
#include "vector_math.hpp"

#include <algorithm>
#include <cmath>

#include "multiversion.hpp"

namespace reverse_dictionary {
namespace {

using Lanes = float[kLanes];

/// Adds the upper half of the lanes to the lower one until one is left; unrolled, because the
/// halves would otherwise wait for each other in memory.
inline float sum_of(const Lanes& lanes) {
  float half[8];
  float quarter[4];
  for (std::size_t i = 0; i < 8; ++i) half[i] = lanes[i] + lanes[i + 8];
  for (std::size_t i = 0; i < 4; ++i) quarter[i] = half[i] + half[i + 4];
  return (quarter[0] + quarter[2]) + (quarter[1] + quarter[3]);
}
static_assert(kLanes == 16);

}  // namespace

REVERSE_DICTIONARY_MULTIVERSION
void gelu(std::span<float> values) {
  float* x = values.data();
  for (std::size_t i = 0; i < values.size(); ++i) x[i] = fast_gelu(x[i]);
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

}  // namespace reverse_dictionary
