// SPDX-License-Identifier: Apache-2.0
// Section 7's attention to the letter, one element at a time.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "backends/reference/exponential.hpp"
#include "backends/reference/reference.hpp"
#include "core/data/element.hpp"
#include "core/fp_env.hpp"

namespace octavo::reference {
namespace {

constexpr auto kChunk = static_cast<std::size_t>(kAttentionChunk);

// e^x for x <= 0.
float power_of_e(float x) noexcept {
  if (std::isnan(x)) return x;
  const Exponential e = exponential(std::min(std::fabs(x), kFar));
  return std::ldexp(e.p, e.n);
}

float greater(float a, float b) noexcept { return a > b ? a : b; }

// Sixteen sums: 8 apart, 4 apart, ...
float halved(std::array<float, 16> sums) noexcept {
  for (std::size_t half = 8; half > 0; half /= 2) {
    for (std::size_t i = 0; i < half; ++i) sums[i] += sums[i + half];
  }
  return sums[0];
}

// A row on its way through the chunks of its sequence.
struct Row {
  const AttentionProblem& p;
  std::int64_t sequence, kv_head;
  std::int64_t index;
  float f;
  SeenTokens seen;
  float most = -std::numeric_limits<float>::infinity();
  float total = 0.0F;
  std::array<float, static_cast<std::size_t>(kMostHeadElements)> out{};
  bool bad = false;

  std::int64_t place(const std::array<std::int64_t, 3>& strides,
                     std::int64_t token) const noexcept {
    const std::int64_t page = p.pages[sequence * p.table_step + token / p.page_size];
    return page * strides[0] + token % p.page_size * strides[1] + kv_head * strides[2];
  }
  float scale_of(const CodedTokens& tokens, std::int64_t token) const noexcept {
    return load_float(DType::float32, tokens.scales, place(tokens.scale_strides, token));
  }
  const std::int8_t* codes_of(const CodedTokens& tokens, std::int64_t token) const noexcept {
    return tokens.codes + place(tokens.strides, token);
  }

  float value_of(const CodedTokens& tokens, std::int64_t token, std::int64_t d) const noexcept {
    return load_float(DType::float8_e4m3fn, codes_of(tokens, token), d);
  }

  float product(std::int64_t token) const noexcept {
    if (p.q_floats == nullptr) {
      const std::int8_t* q = p.q + index * p.depth;
      const std::int8_t* key = codes_of(p.keys, token);
      std::int64_t sum = 0;
      for (std::int64_t d = 0; d < p.depth; ++d) sum += std::int64_t{q[d]} * key[d];
      return static_cast<float>(sum);
    }
    std::array<float, 16> sums{};
    for (std::int64_t d = 0; d < p.depth; ++d) {
      const float x = p.q_floats[index * p.depth + d] * value_of(p.keys, token, d);
      sums[static_cast<std::size_t>(d % 16)] += x;
    }
    return halved(sums);
  }
  float score(std::int64_t token) const noexcept {
    const float scaled = product(token) * f;
    return scaled * scale_of(p.keys, token);
  }

  void add_chunk(std::int64_t first, std::int64_t end) noexcept {
    std::array<float, kChunk> p_of{};
    std::array<float, kChunk> weights{};
    const std::int64_t start = p.starts[sequence];
    const auto at = [start](std::int64_t token) {
      return static_cast<std::size_t>(token - start) % kChunk;
    };
    float m = -std::numeric_limits<float>::infinity();
    for (std::int64_t j = first; j < end; ++j) {
      p_of[at(j)] = score(j);
      m = greater(p_of[at(j)], m);
      bad = bad || (p.q_floats != nullptr && !std::isfinite(p_of[at(j)]));
      for (const CodedTokens* tokens : {&p.keys, &p.values}) {
        const float scale = scale_of(*tokens, j);
        bad = bad || !std::isfinite(scale) || std::signbit(scale);
      }
    }
    std::array<float, 16> sums{};
    float widest = 0x1p-100F;
    for (std::int64_t j = first; j < end; ++j) {
      const float e = power_of_e(p_of[at(j)] - m);
      sums[at(j) % 16] += e;
      weights[at(j)] = e * scale_of(p.values, j);
      widest = greater(weights[at(j)], widest);
    }
    const float next = greater(m, most);
    const float u = power_of_e(most - next);
    const float v = power_of_e(m - next);
    total = total * u + halved(sums) * v;
    most = next;
    for (std::int64_t d = 0; d < p.depth; ++d) {
      float o = 0.0F;
      if (p.q_floats != nullptr) {
        for (std::int64_t j = first; j < end; ++j) {
          const float x = weights[at(j)] * value_of(p.values, j, d);
          o += x;
        }
      } else {
        const float inverse = 32767.0F / widest;
        std::int64_t sum = 0;
        for (std::int64_t j = first; j < end; ++j) {
          const float code = std::nearbyint(weights[at(j)] * inverse);
          if (std::isnan(code) || std::fabs(code) > 32768.0F) continue;  // the row is NaN
          sum += static_cast<std::int64_t>(code) * codes_of(p.values, j)[d];
        }
        o = static_cast<float>(sum) * (widest / 32767.0F);
      }
      float& to = out[static_cast<std::size_t>(d)];
      to = to * u + o * v;
    }
  }
};

void attend(const AttentionProblem& p, std::int64_t r) noexcept {
  const std::int64_t head = r % p.heads;
  const std::int64_t sequence = r / p.heads / p.queries;
  Row row{.p = p,
          .sequence = sequence,
          .kv_head = head / (p.heads / p.kv_heads),
          .index = r,
          .f = p.q_floats != nullptr ? p.scale : p.q_scales[r] * p.scale,
          .seen = seen_tokens(p, sequence, r / p.heads % p.queries)};
  const auto [begin, end] = row.seen;
  const std::int64_t start = p.starts[sequence];
  for (std::int64_t first = begin; first < end;) {
    const std::int64_t chunk = (first - start) / kAttentionChunk;
    const std::int64_t last = std::min(end, start + (chunk + 1) * kAttentionChunk);
    row.add_chunk(first, last);
    first = last;
  }
  for (std::int64_t d = 0; d < p.depth; ++d) {
    float value = begin >= end ? 0.0F : row.out[static_cast<std::size_t>(d)] / row.total;
    if (row.bad || std::isnan(value)) value = std::numeric_limits<float>::quiet_NaN();
    store_float(p.out.dtype, p.out.data, r * p.out.strides[0] + d * p.out.strides[1], value,
                Overflow::saturate);
  }
}

}  // namespace

std::size_t attention_scratch(const AttentionProblem&, int) noexcept { return 0; }

Status attention(const AttentionProblem& problem, void*, const ExecContext&) noexcept {
  const FloatEnvironment environment;
  for (std::int64_t r = 0; r < problem.rows(); ++r) attend(problem, r);
  return {};
}

}  // namespace octavo::reference
