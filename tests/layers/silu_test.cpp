// SPDX-License-Identifier: Apache-2.0
// silu_and_mul: within 4 ulp of the exact value, and the same bits on every backend.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "ops/helpers.hpp"

namespace octavo::test::silu_test {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Gates beside an up of 1.
Tensor beside_ones(const std::vector<float>& gates) {
  const auto count = static_cast<std::int64_t>(gates.size());
  const Tensor x = Tensor::empty(DType::float32, {1, 2 * count});
  for (std::int64_t i = 0; i < count; ++i) {
    x.data_as<float>()[i] = gates[static_cast<std::size_t>(i)];
    x.data_as<float>()[count + i] = 1.0F;
  }
  return x;
}

double exact_silu(double x) {
  if (x == -kInfinity) return -0.0;
  return x >= 0.0 ? x / (1.0 + std::exp(-x)) : x * (std::exp(x) / (1.0 + std::exp(x)));
}

// The distance of float32 numbers around a value.
double ulp(double value) {
  const double least = std::ldexp(1.0, -149);
  if (value == 0.0) return least;
  return std::max(std::ldexp(1.0, std::ilogb(value) - 23), least);
}

TEST(SiluAndMul, StaysWithinFourUlp) {
  std::vector<float> gates;
  for (std::uint32_t bits = 0; bits < 0x7F800000U; bits += 7919) {
    gates.push_back(std::bit_cast<float>(bits));
    gates.push_back(-gates.back());
  }
  for (float x = -110.0F; x < 20.0F; x += 0.0037F) gates.push_back(x);
  const Tensor y = silu_and_mul(beside_ones(gates));
  double most = 0.0;
  for (std::size_t i = 0; i < gates.size(); ++i) {
    const double exact = exact_silu(static_cast<double>(gates[i]));
    const double got = static_cast<double>(y.data_as<float>()[i]);
    const double distance = std::abs(got - exact) / ulp(exact);
    ASSERT_LE(distance, 4.0) << gates[i];
    most = std::max(most, distance);
  }
  EXPECT_GT(most, 0.4);  // the comparison is one of float32 numbers
}

TEST(SiluAndMul, SpecialValues) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float most = std::numeric_limits<float>::max();
  const float least = std::numeric_limits<float>::denorm_min();
  const Tensor y = silu_and_mul(beside_ones({0.0F, -0.0F, infinity, -infinity, most, -most, least,
                                             -least, std::nanf(""), -128.0F, 0x1p-140F}));
  const float* got = y.data_as<float>();
  const auto same = [&](int i, float want) {
    EXPECT_EQ(std::bit_cast<std::uint32_t>(got[i]), std::bit_cast<std::uint32_t>(want)) << i;
  };
  same(0, 0.0F);
  same(1, -0.0F);
  same(2, infinity);
  same(3, -0.0F);
  same(4, most);
  same(5, -0.0F);
  same(6, 0.0F);  // half of the least number, to even
  same(7, -0.0F);
  EXPECT_TRUE(std::isnan(got[8]));
  same(9, -0.0F);
  same(10, 0x1p-141F);
}

TEST(SiluAndMul, HasTheReferencesBits) {
  for (const DType dtype : {DType::float32, DType::bfloat16, DType::float16}) {
    for (const std::int64_t inner : {0, 1, 15, 16, 17, 1025}) {
      const Tensor x = gaussians(dtype, {5, 2 * inner}, 1, 20.0);
      const Tensor want = silu_and_mul(x, {.backend = "reference"});
      EXPECT_EQ(want.dtype(), dtype);
      expect_same_bits(silu_and_mul(x), want);
      const Strided apart = strided(x, {1, 7});
      const Strided out = strided(want, {-1, 5});
      fill_with_poison(out.view);
      (void)silu_and_mul(apart.view, {.out = out.view});
      expect_same_bits(out.view, want);
    }
  }
}

TEST(SiluAndMul, OutputTypesAndRanks) {
  const Tensor x = gaussians(DType::float32, {2, 3, 8}, 1, 4.0);
  const Tensor y = silu_and_mul(x, {.out_dtype = DType::float8_e4m3fn});
  EXPECT_EQ(shape_string(y), "[2, 3, 4]");
  expect_same_bits(y, silu_and_mul(x).to(DType::float8_e4m3fn));
  EXPECT_EQ(shape_string(silu_and_mul(gaussians(DType::float32, {6}, 1))), "[3]");
}

TEST(SiluAndMul, ThreadsDoNotMatter) {
  const Tensor x = gaussians(DType::bfloat16, {300, 256}, 1);
  const Tensor want = silu_and_mul(x);
  for (const int threads : {1, 2, 3}) {
    ThreadExecutor executor(threads);
    expect_same_bits(silu_and_mul(x, {}, {.executor = &executor}), want);
  }
}

}  // namespace
}  // namespace octavo::test::silu_test
