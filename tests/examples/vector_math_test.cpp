// SPDX-License-Identifier: Apache-2.0
// Accuracy of the vectorised functions against the C library in double precision.
#include "model/vector_math.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "model/attention.hpp"

namespace reverse_dictionary {
namespace {

/// A fixed sequence of values in [-range, range].
std::vector<float> sequence(std::size_t count, float range, std::uint32_t seed = 1) {
  std::vector<float> values(count);
  for (float& value : values) {
    seed = seed * 1664525U + 1013904223U;
    value = range * (static_cast<float>(seed >> 8) / 8388608.0F - 1.0F);
  }
  return values;
}

TEST(VectorMath, ExpIsWithin2e7) {
  for (int i = -870000; i <= 880000; ++i) {
    const float x = static_cast<float>(i) * 1e-4F;
    const double exact = std::exp(static_cast<double>(x));
    ASSERT_NEAR(static_cast<double>(fast_exp(x)) / exact, 1.0, 2e-7) << x;
  }
}

TEST(VectorMath, ExpSaturates) {
  EXPECT_EQ(fast_exp(-1e30F), fast_exp(-87.0F));
  EXPECT_EQ(fast_exp(std::numeric_limits<float>::lowest()), fast_exp(-87.0F));
  EXPECT_EQ(fast_exp(1e30F), fast_exp(88.0F));
}

TEST(VectorMath, GeluIsWithin5e7) {
  for (int i = -120000; i <= 120000; ++i) {
    const float x = static_cast<float>(i) * 1e-4F;
    const double exact =
        0.5 * static_cast<double>(x) * std::erfc(-static_cast<double>(x) / std::sqrt(2.0));
    ASSERT_NEAR(static_cast<double>(fast_gelu(x)), exact, 5e-7) << x;
  }
}

TEST(VectorMath, GeluOfLargeValuesIsTheirPositivePart) {
  for (const float x : {20.0F, 1e3F, 1e10F, 1e30F}) {
    EXPECT_EQ(fast_gelu(x), x);
    EXPECT_EQ(fast_gelu(-x), 0.0F);
  }
  EXPECT_EQ(fast_gelu(0.0F), 0.0F);
  EXPECT_TRUE(std::isnan(fast_gelu(std::numeric_limits<float>::quiet_NaN())));
}

TEST(VectorMath, GeluOfARowIsThatOfItsValues) {
  std::vector<float> row = sequence(1003, 6.0F);
  const std::vector<float> before = row;
  gelu(row);
  for (std::size_t i = 0; i < row.size(); ++i) EXPECT_EQ(row[i], fast_gelu(before[i]));
}

TEST(VectorMath, LayerNormOfASum) {
  constexpr std::size_t kWidth = 384;
  constexpr float kEpsilon = 1e-12F;
  const auto x = sequence(kWidth, 3.0F, 1);
  auto out = sequence(kWidth, 2.0F, 2);
  const auto residual = out;
  const auto gain = sequence(kWidth, 1.0F, 3);
  const auto bias = sequence(kWidth, 1.0F, 4);
  add_layer_norm(x.data(), out.data(), {gain, bias, kEpsilon}, out.data());
  std::vector<double> sums(kWidth);
  for (std::size_t i = 0; i < kWidth; ++i) sums[i] = double{x[i]} + double{residual[i]};
  const double mean = std::accumulate(sums.begin(), sums.end(), 0.0) / kWidth;
  double variance = 0;
  for (const double sum : sums) variance += (sum - mean) * (sum - mean) / kWidth;
  for (std::size_t i = 0; i < kWidth; ++i) {
    const double exact = (sums[i] - mean) / std::sqrt(variance) * double{gain[i]} + double{bias[i]};
    ASSERT_NEAR(out[i], exact, 2e-6);
  }
}

TEST(VectorMath, NormalizedRowsHaveLengthOne) {
  std::vector<float> row = sequence(384, 5.0F);
  l2_normalize(row);
  EXPECT_NEAR(dot(row, row), 1.0F, 1e-6F);
  std::vector<float> zero(16, 0.0F);
  l2_normalize(zero);
  EXPECT_EQ(zero, std::vector<float>(16, 0.0F));
}

TEST(VectorMath, AttentionOfEveryLength) {
  constexpr std::int64_t kWidth = 32;
  constexpr std::int64_t kStride = 48;
  constexpr std::int64_t kOutStride = 40;
  AttentionScratch scratch;
  for (const std::int64_t tokens : {1, 2, 7, 8, 9, 15, 16, 17, 40}) {
    const auto size = static_cast<std::size_t>(tokens * kStride);
    const auto q = sequence(size, 2.0F, 1);
    const auto k = sequence(size, 2.0F, 2);
    const auto v = sequence(size, 2.0F, 3);
    std::vector<float> out(size);
    attend({q.data(), k.data(), v.data(), tokens, kWidth, kStride}, scratch, out.data(),
           kOutStride);
    const auto at = [](std::int64_t token, std::int64_t d) {
      return static_cast<std::size_t>(token * kStride + d);
    };
    for (std::int64_t i = 0; i < tokens; ++i) {
      std::vector<double> weights(static_cast<std::size_t>(tokens));
      double sum = 0;
      for (std::int64_t j = 0; j < tokens; ++j) {
        double score = 0;
        for (std::int64_t d = 0; d < kWidth; ++d)
          score += double{q[at(i, d)]} * double{k[at(j, d)]};
        sum += weights[static_cast<std::size_t>(j)] = std::exp(score / std::sqrt(double{kWidth}));
      }
      for (std::int64_t d = 0; d < kWidth; ++d) {
        double exact = 0;
        for (std::int64_t j = 0; j < tokens; ++j) {
          exact += weights[static_cast<std::size_t>(j)] / sum * double{v[at(j, d)]};
        }
        ASSERT_NEAR(out[static_cast<std::size_t>(i * kOutStride + d)], exact, 5e-6)
            << tokens << " tokens, token " << i;
      }
    }
  }
}

}  // namespace
}  // namespace reverse_dictionary
