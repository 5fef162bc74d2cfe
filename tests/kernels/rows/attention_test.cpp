// SPDX-License-Identifier: Apache-2.0
// Attention's kernels: sums of codes are exact, and every step has the same bits in every row of
// the table.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "backends/cpu/row_kernels.hpp"

namespace octavo::test::attention_kernels_test {
namespace {

using cpu::kChunkTokens;
using cpu::kHeadElements;

// Operands of a chunk, codes from -128 on among them.
struct Operands {
  std::vector<std::int8_t> q = std::vector<std::int8_t>(8 * kHeadElements);
  std::vector<std::int8_t> codes;
  std::vector<const std::int8_t*> tokens;
  std::vector<std::int16_t> weights = std::vector<std::int16_t>(8 * kChunkTokens);

  Operands(std::int64_t depth, std::int64_t count, unsigned seed) {
    std::mt19937 bits(seed);
    codes.resize(static_cast<std::size_t>(count * depth));
    for (auto& code : codes) code = static_cast<std::int8_t>(bits() % 256);
    if (seed % 2 == 0) std::fill(codes.begin(), codes.end(), std::int8_t{-128});
    for (std::int64_t r = 0; r < 8; ++r) {
      for (std::int64_t d = 0; d < depth; ++d) {
        q[static_cast<std::size_t>(r * kHeadElements + d)] =
            seed % 2 == 0 ? std::int8_t{-127} : static_cast<std::int8_t>(bits() % 255 - 127);
      }
    }
    for (auto& weight : weights) {
      weight = seed % 2 == 0 ? std::int16_t{32767} : static_cast<std::int16_t>(bits() % 32768);
    }
    for (std::int64_t j = 0; j < count; ++j) tokens.push_back(codes.data() + j * depth);
  }
};

TEST(AttentionKernels, SumsAreExact) {
  for (const cpu::Kernels* kernels : cpu::usable_kernels()) {
    for (const std::int64_t depth : {1, 15, 16, 33, 64, 80, 96, 128, 200, 256, 1024}) {
      for (const std::int64_t tokens : {16, 48, 256}) {
        for (const unsigned seed : {1U, 2U}) {
          const Operands o(depth, tokens, seed);
          for (const std::int64_t rows : {1, 2, 3, 7, 8}) {
            std::vector<std::int32_t> scores(8 * kChunkTokens, -1);
            std::vector<std::int32_t> values(8 * kHeadElements, -1);
            kernels->attention_scores(o.q.data(), rows, depth, o.tokens.data(), tokens,
                                      scores.data());
            kernels->attention_values(o.weights.data(), rows, depth, o.tokens.data(), tokens,
                                      values.data());
            for (std::int64_t r = 0; r < rows; ++r) {
              for (std::int64_t j = 0; j < tokens; ++j) {
                std::int64_t sum = 0;
                for (std::int64_t d = 0; d < depth; ++d) {
                  sum += std::int64_t{o.q[static_cast<std::size_t>(r * kHeadElements + d)]} *
                         o.tokens[static_cast<std::size_t>(j)][d];
                }
                ASSERT_EQ(scores[static_cast<std::size_t>(r * kChunkTokens + j)], sum)
                    << kernels->on_integers << ' ' << depth << ' ' << r << ' ' << j;
              }
              for (std::int64_t d = 0; d < depth; ++d) {
                std::int64_t sum = 0;
                for (std::int64_t j = 0; j < tokens; ++j) {
                  sum += std::int64_t{o.weights[static_cast<std::size_t>(r * kChunkTokens + j)]} *
                         o.tokens[static_cast<std::size_t>(j)][d];
                }
                ASSERT_EQ(values[static_cast<std::size_t>(r * kHeadElements + d)], sum)
                    << kernels->on_integers << ' ' << depth << ' ' << r << ' ' << d;
              }
            }
          }
        }
      }
    }
  }
}

TEST(AttentionKernels, WeightsAndSumsHaveTheSameBits) {
  std::mt19937 bits(3);
  const cpu::Kernels& plain = *cpu::usable_kernels().back();
  for (int round = 0; round < 300; ++round) {
    std::vector<std::int32_t> sums(kChunkTokens);
    std::vector<float> keys(kChunkTokens);
    std::vector<float> values(kChunkTokens);
    for (std::size_t j = 0; j < sums.size(); ++j) {
      sums[j] = static_cast<std::int32_t>(bits() % 2000001) - 1000000;
      keys[j] =
          std::ldexp(static_cast<float>(bits() % 1000 + 1), -20 - static_cast<int>(bits() % 8));
      values[j] =
          std::ldexp(static_cast<float>(bits() % 1000 + 1), -10 - static_cast<int>(bits() % 110));
    }
    cpu::ChunkScores scores{
        .sums = sums.data(), .key_scales = keys.data(), .value_scales = values.data()};
    scores.first = static_cast<std::int64_t>(bits() % kChunkTokens);
    scores.end =
        scores.first +
        static_cast<std::int64_t>(bits() % static_cast<unsigned>(kChunkTokens - scores.first + 1));
    scores.factor = std::ldexp(1.0F, static_cast<int>(bits() % 12) - 6);
    std::vector<std::int16_t> want(kChunkTokens, -1);
    const cpu::ChunkTotals total = plain.attention_weights(scores, want.data());
    for (const cpu::Kernels* kernels : cpu::usable_kernels()) {
      std::vector<std::int16_t> got(kChunkTokens, -1);
      const cpu::ChunkTotals other = kernels->attention_weights(scores, got.data());
      ASSERT_EQ(got, want) << kernels->on_integers;
      ASSERT_EQ(std::memcmp(&other, &total, sizeof(total)), 0) << kernels->on_integers;
      cpu::RowTotals rows[2];
      std::vector<float> out[2] = {std::vector<float>(256, 0.5F), std::vector<float>(256, 0.5F)};
      for (const bool first : {true, false}) {
        const cpu::Kernels& run = first ? plain : *kernels;
        rows[first] = {.most = total.most + 1.5F - static_cast<float>(round % 4), .total = 7.0F};
        run.attention_add(total, sums.data(), 80, rows[first], out[first].data());
      }
      ASSERT_EQ(std::memcmp(&rows[0], &rows[1], sizeof(rows[0])), 0) << kernels->on_integers;
      ASSERT_EQ(out[0], out[1]) << kernels->on_integers;
    }
  }
}

TEST(AttentionKernels, FloatsHaveTheSameBits) {
  std::mt19937 bits(5);
  const cpu::Kernels& plain = *cpu::usable_kernels().back();
  const auto draw = [&](int least) {
    return std::ldexp(static_cast<float>(bits() % 2001) - 1000.0F,
                      least - static_cast<int>(bits() % 12));
  };
  for (const std::int64_t depth : {1, 15, 16, 33, 80, 256, 1024}) {
    std::vector<float> q(8 * kHeadElements);
    std::vector<float> key(kHeadElements);
    for (std::int64_t d = 0; d < depth; ++d) {
      key[static_cast<std::size_t>(d)] = draw(-8);
      for (std::int64_t r = 0; r < 8; ++r)
        q[static_cast<std::size_t>(r * kHeadElements + d)] = draw(-4);
    }
    std::vector<float> products(8 * kChunkTokens, -1.0F);
    plain.attention_products(q.data(), 8, depth, key.data(), products.data());
    for (std::int64_t r = 0; r < 8; ++r) {
      double sum = 0.0;
      double magnitude = 0.0;
      for (std::int64_t d = 0; d < depth; ++d) {
        const double product =
            static_cast<double>(q[static_cast<std::size_t>(r * kHeadElements + d)]) *
            static_cast<double>(key[static_cast<std::size_t>(d)]);
        sum += product;
        magnitude += std::abs(product);
      }
      const auto got = static_cast<double>(products[static_cast<std::size_t>(r * kChunkTokens)]);
      const double roundings = static_cast<double>(depth) / 16.0 + 6.0;
      ASSERT_LE(std::abs(got - sum), roundings * 1.01 * 0x1p-24 * magnitude) << depth;
    }
    for (const cpu::Kernels* kernels : cpu::usable_kernels()) {
      for (const std::int64_t rows : {1, 3, 8}) {
        std::vector<float> got(8 * kChunkTokens, -1.0F);
        kernels->attention_products(q.data(), rows, depth, key.data(), got.data());
        for (std::int64_t r = 0; r < 8; ++r) {
          const auto at = static_cast<std::size_t>(r * kChunkTokens);
          ASSERT_EQ(got[at], r < rows ? products[at] : -1.0F) << kernels->on_floats;
        }
      }
    }
  }
  for (int round = 0; round < 100; ++round) {
    std::vector<float> products(kChunkTokens);
    std::vector<float> scales(kChunkTokens);
    for (std::size_t j = 0; j < products.size(); ++j) {
      products[j] = draw(-8);
      scales[j] = std::ldexp(static_cast<float>(bits() % 1000 + 1), -10);
    }
    cpu::ChunkScores scores{.products = products.data(),
                            .key_scales = scales.data(),
                            .value_scales = scales.data(),
                            .factor = 0.3F};
    scores.first = static_cast<std::int64_t>(bits() % kChunkTokens);
    scores.end = kChunkTokens - static_cast<std::int64_t>(bits() % 8);
    if (round % 4 == 0) products[bits() % kChunkTokens] = std::numeric_limits<float>::infinity();
    std::vector<float> want(kChunkTokens, -1.0F);
    const cpu::ChunkTotals total = plain.attention_float_weights(scores, want.data());
    for (const cpu::Kernels* kernels : cpu::usable_kernels()) {
      std::vector<float> got(kChunkTokens, -1.0F);
      const cpu::ChunkTotals other = kernels->attention_float_weights(scores, got.data());
      ASSERT_EQ(std::isnan(other.total), std::isnan(total.total)) << kernels->on_floats;
      if (std::isnan(total.total)) continue;
      ASSERT_EQ(std::memcmp(&other, &total, sizeof(total)), 0) << kernels->on_floats;
      for (std::int64_t j = scores.first; j < scores.end; ++j) {
        ASSERT_EQ(got[static_cast<std::size_t>(j)], want[static_cast<std::size_t>(j)]);
      }
      cpu::RowTotals rows[2];
      std::vector<float> out[2] = {std::vector<float>(256, 0.5F), std::vector<float>(256, 0.5F)};
      for (const bool first : {true, false}) {
        const cpu::Kernels& run = first ? plain : *kernels;
        rows[first] = {.most = total.most + 1.5F - static_cast<float>(round % 4), .total = 7.0F};
        run.attention_add_floats(total, products.data(), 80, rows[first], out[first].data());
      }
      ASSERT_EQ(std::memcmp(&rows[0], &rows[1], sizeof(rows[0])), 0) << kernels->on_floats;
      ASSERT_EQ(std::memcmp(out[0].data(), out[1].data(), 80 * sizeof(float)), 0)
          << kernels->on_floats;
    }
  }
}

}  // namespace
}  // namespace octavo::test::attention_kernels_test
