// SPDX-License-Identifier: Apache-2.0
// rms_norm: near the exact value by a bound of its steps, and the same bits on every backend.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "octavo/norm.hpp"
#include "ops/helpers.hpp"

namespace octavo::test::rms_norm_test {
namespace {

constexpr DType kTypes[] = {DType::float32, DType::bfloat16, DType::float16};

// The exact value of element j of a row: of x, or of x + residual.
double exact(const std::vector<double>& row, double weight, double epsilon, std::size_t j) {
  double squares = 0.0;
  for (const double x : row) squares += x * x;
  return row[j] / std::sqrt(squares / static_cast<double>(row.size()) + epsilon) * weight;
}

TEST(RmsNorm, StaysWithinItsRoundings) {
  const Tensor x = gaussians(DType::float32, {7, 1000}, 1, 8.0);
  const Tensor residual = gaussians(DType::float32, {7, 1000}, 2, 8.0);
  const Tensor weight = gaussians(DType::float32, {1000}, 3);
  const Tensor sums = residual.to(residual.dtype());
  const Tensor y = rms_norm(x, {.weight = weight, .epsilon = 1e-5F, .residual = sums.view()});
  for (std::int64_t r = 0; r < 7; ++r) {
    std::vector<double> row(1000);
    for (std::size_t j = 0; j < row.size(); ++j) {
      const std::size_t at = static_cast<std::size_t>(r) * 1000 + j;
      row[j] = static_cast<double>(sums.data_as<float>()[at]);
      EXPECT_EQ(sums.data_as<float>()[at], x.data_as<float>()[at] + residual.data_as<float>()[at]);
    }
    for (std::size_t j = 0; j < row.size(); ++j) {
      const double want = exact(row, static_cast<double>(weight.data_as<float>()[j]), 1e-5, j);
      const double got =
          static_cast<double>(y.data_as<float>()[static_cast<std::size_t>(r) * 1000 + j]);
      // Three roundings to float32: of the factor, of two products.
      ASSERT_LE(std::abs(got - want), std::abs(want) * 3.01 * 0x1p-24) << r << ' ' << j;
    }
  }
}

TEST(RmsNorm, HasTheReferencesBits) {
  for (const DType dtype : kTypes) {
    for (const std::int64_t columns : {1, 15, 255, 256, 257, 2047, 2048, 2049, 5000}) {
      const Tensor x = gaussians(dtype, {5, columns}, 1, 20.0);
      const Tensor residual = gaussians(dtype, {5, columns}, 2, 20.0);
      for (const DType of_weight : {DType::undefined, dtype, DType::float32}) {
        const Tensor weight =
            of_weight == DType::undefined ? Tensor() : gaussians(of_weight, {columns}, 3);
        for (const bool adds : {false, true}) {
          const Tensor want_sum = residual.to(residual.dtype());
          const Tensor got_sum = residual.to(residual.dtype());
          RmsNormOptions o;
          if (weight.defined()) o.weight = weight.view();
          if (adds) o.residual = want_sum.view();
          o.backend = "reference";
          const Tensor want = rms_norm(x, o);
          o.backend = nullptr;
          if (adds) o.residual = got_sum.view();
          expect_same_bits(rms_norm(x, o), want);
          expect_same_bits(got_sum, want_sum);
          if (adds) continue;
          const Strided apart = strided(x, {1, 7});
          const Strided out = strided(want, {-1, 5});
          fill_with_poison(out.view);
          o.out = out.view;
          (void)rms_norm(apart.view, o);
          expect_same_bits(out.view, want);
        }
      }
    }
  }
}

// A row's bits depend on nothing but the row.
TEST(RmsNorm, RowsAndThreadsDoNotMatter) {
  const Tensor x = gaussians(DType::bfloat16, {300, 512}, 1);
  const Tensor want = rms_norm(x);
  for (const int threads : {1, 2, 3}) {
    ThreadExecutor executor(threads);
    expect_same_bits(rms_norm(x, {}, {.executor = &executor}), want);
  }
  for (const std::int64_t r : {0, 1, 299}) {
    expect_same_bits(rms_norm(x.view().slice(0, r, r + 1)), want.view().slice(0, r, r + 1));
  }
}

TEST(RmsNorm, SpecialValues) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const auto of = [](std::vector<float> row, float epsilon) {
    const auto columns = static_cast<std::int64_t>(row.size());
    const Tensor y = rms_norm(view(row, {1, columns}), {.epsilon = epsilon});
    const auto* got = y.data_as<float>();
    return std::vector<float>(got, got + columns);
  };
  EXPECT_TRUE(std::isnan(of({0.0F, 0.0F}, 0.0F)[0]));  // 0 * infinity
  EXPECT_EQ(of({0.0F, -0.0F}, 1e-6F)[0], 0.0F);
  EXPECT_TRUE(std::isnan(of({nan, 1.0F}, 1e-6F)[1]));
  EXPECT_TRUE(std::isnan(of({infinity, 1.0F}, 1e-6F)[0]));
  EXPECT_EQ(of({infinity, 1.0F}, 1e-6F)[1], 0.0F);
  const float most = std::numeric_limits<float>::max();
  // Squares fit float64; the factor is below 2^-126 and has 21 bits and more.
  EXPECT_LE(std::abs(of({most, -most}, 0.0F)[1] + 1.0F), 0x1p-21F);
  EXPECT_EQ(rms_norm(gaussians(DType::float32, {3, 0}, 1)).view().shape[1], 0);
  EXPECT_EQ(rms_norm(gaussians(DType::float32, {0, 3}, 1)).view().shape[0], 0);
}

}  // namespace
}  // namespace octavo::test::rms_norm_test
