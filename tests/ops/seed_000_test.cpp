// SPDX-License-Identifier: Apache-2.0
// Every example of the seed document of scaled_mm, with its own numbers and shapes.
//
// Integer literals are int64 in the document's language; here they are the int8 they stand for.
#include "ops/helpers.hpp"

namespace octavo::test::seed_000_test {
namespace {

// acc * scale_a * scale_b (+ bias), every step in float32: what an integer product is to the bit.
float scaled(std::int64_t acc, float scale_a, float scale_b) {
  float t = static_cast<float>(acc);
  t *= scale_a;
  t *= scale_b;
  return t;
}

TEST(Seed000, BasicQuantizedInference) {
  const Tensor input = values(int8, {2, 2}, {10, 20, 30, 40});
  const Tensor weight = values(int8, {2, 2}, {5, 10, 15, 20});
  const Tensor result = scaled_mm(input, weight, {.scale_a = 0.1, .scale_b = 0.05});
  EXPECT_EQ(result.dtype(), float32);
  for (std::int64_t i = 0; i < 2; ++i) {
    for (std::int64_t j = 0; j < 2; ++j) {
      const std::int64_t acc = exact_dot(input, weight, i, j);
      EXPECT_EQ(float_at(result, i, j), scaled(acc, 0.1F, 0.05F));
      EXPECT_NEAR(at(result, i, j), static_cast<double>(acc) * 0.005, 1e-5);
    }
  }
}

// input_dim 768 and output_dim 3072 as the document has them.
TEST(Seed000, MixedPrecisionInferenceWithBias) {
  const Tensor x = integers(int8, {32, 768}, 1, -128, 126);
  const Tensor w = integers(int8, {768, 3072}, 2, -128, 126);
  const Tensor bias = gaussians(float32, {3072}, 3);
  const Tensor output = scaled_mm(x, w, {.scale_a = 0.008, .scale_b = 0.01, .bias = bias});
  ASSERT_EQ(shape_string(output), "[32, 3072]");
  std::vector<std::int64_t> acc(3072);
  for (std::int64_t i = 0; i < 32; ++i) {
    acc.assign(3072, 0);
    for (std::int64_t k = 0; k < 768; ++k) {
      const std::int64_t a = x.data_as<std::int8_t>()[i * 768 + k];
      const std::int8_t* row = w.data_as<std::int8_t>() + k * 3072;
      for (std::size_t j = 0; j < 3072; ++j) acc[j] += a * row[j];
    }
    for (std::int64_t j = 0; j < 3072; ++j) {
      const std::int64_t sum = acc[static_cast<std::size_t>(j)];
      ASSERT_EQ(float_at(output, i, j), scaled(sum, 0.008F, 0.01F) + float_at(bias, j));
      Sum exact;
      exact.add(static_cast<double>(sum) * double{0.008F} * double{0.01F});
      exact.add(at(bias, j));
      expect_near(output, i, j, exact, 0);
    }
  }
}

TEST(Seed000, OneScalePerOutputChannel) {
  const Tensor input = values(int8, {2, 3}, {1, 2, 3, 4, 5, 6});
  const Tensor weight = values(int8, {3, 2}, {2, 3, 4, 5, 6, 7});
  const Tensor per_channel_scale = values(float32, {2}, {0.1, 0.15});
  const Tensor result = scaled_mm(input, weight, {.scale_a = 1.0, .scale_b = per_channel_scale});
  for (std::int64_t i = 0; i < 2; ++i) {
    for (std::int64_t j = 0; j < 2; ++j) {
      EXPECT_EQ(float_at(result, i, j),
                scaled(exact_dot(input, weight, i, j), 1.0F, float_at(per_channel_scale, j)));
    }
  }
  EXPECT_FLOAT_EQ(float_at(result, 0, 0), 2.8F);    // (1*2 + 2*4 + 3*6) * 0.1
  EXPECT_FLOAT_EQ(float_at(result, 1, 1), 11.85F);  // (4*3 + 5*5 + 6*7) * 0.15
}

TEST(Seed000, CompletePipelineWithAllComponents) {
  const Tensor x = integers(int8, {64, 512}, 4);
  const Tensor w = integers(int8, {512, 256}, 5);
  const Tensor bias = gaussians(float32, {256}, 6);
  const Tensor y = scaled_mm(
      x, w,
      {.scale_a = 0.008, .scale_b = 0.01, .bias = bias, .scale_result = 1.0, .out_dtype = float32});
  EXPECT_EQ(y.dtype(), float32);
  for (std::int64_t i = 0; i < 64; ++i) {
    for (std::int64_t j = 0; j < 256; ++j) {
      const std::int64_t acc = exact_dot(x, w, i, j);
      ASSERT_EQ(float_at(y, i, j), scaled(acc, 0.008F, 0.01F) + float_at(bias, j));
    }
  }
}

TEST(Seed000, SymmetricQuantizationWithOneElementTensorScales) {
  const Tensor input = values(int8, {2, 2}, {-100, -50, 50, 100});
  const Tensor weight = values(int8, {2, 2}, {-80, 80, 100, -100});
  const Tensor scale_x = values(float32, {1}, {1.0 / 127});
  const Tensor scale_w = values(float32, {1}, {1.0 / 127});
  const Tensor result = scaled_mm(input, weight, {.scale_a = scale_x, .scale_b = scale_w});
  for (std::int64_t i = 0; i < 2; ++i) {
    for (std::int64_t j = 0; j < 2; ++j) {
      const std::int64_t acc = exact_dot(input, weight, i, j);
      EXPECT_EQ(float_at(result, i, j), scaled(acc, float_at(scale_x, 0), float_at(scale_w, 0)));
      EXPECT_NEAR(at(result, i, j), static_cast<double>(acc) / 127 / 127, 1e-6);
      EXPECT_LE(std::abs(at(result, i, j)), 1.0);
    }
  }
}

// The largest sum is 50, so that the largest result is 50 * 0.02 * 0.025 / 127 = 0.0002: all of
// them round to 0. A result that is to fill int8 needs scale_result = 127 / (largest result).
TEST(Seed000, RequantizationWithItsOwnNumbersGivesAllZeros) {
  const Tensor x = values(int8, {2, 2}, {1, 2, 3, 4});
  const Tensor w = values(int8, {2, 2}, {5, 6, 7, 8});
  ScaledMmOptions options{
      .scale_a = 0.02, .scale_b = 0.025, .bias = {}, .scale_result = 1.0 / 127, .out_dtype = int8};
  const Tensor zeros = scaled_mm(x, w, options);
  EXPECT_EQ(zeros.dtype(), int8);
  for (std::int64_t i = 0; i < 4; ++i) EXPECT_EQ(zeros.data_as<std::int8_t>()[i], 0) << i;

  options.scale_result = 127.0 / 0.025;
  const Tensor filled = scaled_mm(x, w, options);
  for (std::int64_t i = 0; i < 2; ++i) {
    for (std::int64_t j = 0; j < 2; ++j) {
      const double y = static_cast<double>(exact_dot(x, w, i, j)) * 0.02 * 0.025 * 127 / 0.025;
      EXPECT_EQ(at(filled, i, j), std::nearbyint(y));
    }
  }
  EXPECT_EQ(at(filled, 1, 1), 127.0);
}

TEST(Seed000, IntegerLiteralsAsInt64AreRefusedWithTheConversionToWrite) {
  const Tensor input = values(int8, {2, 2}, {1, 2, 3, 4});
  const std::vector<std::int64_t> wide{1, 2, 3, 4};
  expect_error(
      [&] {
        scaled_mm(view(wide, {2, 2}), input, {});
      },
      Code::invalid_argument,
      "scaled_mm: a.dtype must be an 8-bit type or a 16- or 32-bit float type; got int64 "
      "(convert it first, for example to int8 or float32)",
      true);
}

// "Undefined" and "null" both mean 1 here, since these operands carry no scale.
TEST(Seed000, NullAndUndefinedScalesDefaultToOne) {
  const Tensor input = values(int8, {2, 2}, {10, 20, 30, 40});
  const Tensor weight = values(int8, {2, 2}, {5, 10, 15, 20});
  const Tensor plain = scaled_mm(input, weight);
  expect_same_bits(scaled_mm(input, weight, {.scale_a = nullptr, .scale_b = nullptr}), plain);
  expect_same_bits(scaled_mm(input, weight, {.scale_a = 1.0, .scale_b = 1.0}), plain);
  EXPECT_EQ(at(plain, 1, 1), 1100.0);
}

}  // namespace
}  // namespace octavo::test::seed_000_test
