// SPDX-License-Identifier: Apache-2.0
// Products of K = 0: no scale of an operand and no alpha enters an empty sum (section 3), so a
// scale of 1 / 0, of an expert without tokens say, does not show.
#include <limits>

#include "ops/helpers.hpp"

namespace octavo::test::empty_sums_test {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr std::int64_t kRows = 5, kCols = 70, kGroups = 3;

Tensor filled(const Shape& shape, float value) {
  return tensor_of(float32, shape, [=](std::int64_t) { return value; });
}

struct Pair {
  DType a, b;
};
constexpr Pair kPairs[] = {{int8, int8},         {uint8, int8},      {float8_e4m3fn, float8_e5m2},
                           {bfloat16, bfloat16}, {float32, float32}, {bfloat16, int8}};

struct Scales {
  const char* name;
  Scale a, b;
};

// Scales of every granularity that exists where K is 0.
std::vector<Scales> scales_of_value(float value) {
  static std::vector<Tensor> kept;
  const auto keep = [&](const Shape& shape) {
    return kept.emplace_back(filled(shape, value)).view();
  };
  return {
      {"numbers", value, value},
      {"tensor", {keep({1}), per_tensor()}, {keep({1}), per_tensor()}},
      {"token and channel", {keep({kRows, 1}), per_token()}, {keep({1, kCols}), per_channel()}},
      {"groups", {keep({kRows, 0}), group(8)}, {keep({0, kCols}), group(8)}},
      {"blocks", {keep({kRows, 0}), group(128)}, {keep({0, 1}), block(128, 128)}},
      {"token and groups", {keep({kRows, 1}), per_token()}, {keep({0, kCols}), group(8)}},
  };
}

TEST(EmptySum, MeetsNoScaleAndNoAlpha) {
  const Tensor c = gaussians(float32, {kRows, kCols}, 1);
  const Tensor bias = gaussians(float32, {kCols}, 2);
  for (const Pair& pair : kPairs) {
    const Tensor a = Tensor::empty(pair.a, {kRows, 0});
    const Tensor b = Tensor::empty(pair.b, {0, kCols});
    for (const float value : {kNan, kInf, -kInf, 0.0F, -2.0F}) {
      for (const Scales& scales : scales_of_value(value)) {
        for (const char* backend : usable_backends()) {
          const Tensor y = scaled_mm(a, b,
                                     {.scale_a = scales.a,
                                      .scale_b = scales.b,
                                      .bias = bias,
                                      .scale_result = 0.5F,
                                      .out_dtype = float32,
                                      .alpha = value,
                                      .beta = 0.25F,
                                      .c = c,
                                      .backend = backend});
          for (std::int64_t i = 0; i < kRows; ++i) {
            for (std::int64_t j = 0; j < kCols; ++j) {
              const float want =
                  (0.25F * c.data_as<float>()[i * kCols + j] + bias.data_as<float>()[j]) * 0.5F;
              ASSERT_EQ(y.data_as<float>()[i * kCols + j], want)
                  << name(pair.a) << " @ " << name(pair.b) << ", scales by " << scales.name
                  << " of " << value << " on " << backend;
            }
          }
        }
      }
    }
  }
}

TEST(EmptySum, OfAGroupMeetsNoScaleOfThatGroup) {
  const Tensor a = integers(int8, {kRows, 8}, 3);
  const Tensor b = integers(int8, {8, kCols}, 4);
  const Tensor ends = values(DType::int32, {kGroups}, {3, 3, 8});  // the second is empty
  const Tensor scale_a = filled({kGroups * kRows}, 0.5F);
  const Tensor scale_b = filled({kGroups * kCols}, 2.0F);
  for (std::int64_t i = 0; i < kRows; ++i) scale_a.data_as<float>()[kRows + i] = kInf;
  for (std::int64_t j = 0; j < kCols; ++j) scale_b.data_as<float>()[kCols + j] = kNan;
  const Tensor c = filled({kGroups, kRows, kCols}, kNan);
  for (const char* backend : usable_backends()) {
    const Tensor y = grouped_mm(a, b,
                                {.offs = ends,
                                 .out_dtype = float32,
                                 .scale_a = scale_a,
                                 .scale_b = scale_b,
                                 .beta = 0.0F,  // never reads c
                                 .c = c,
                                 .backend = backend});
    for (std::int64_t i = 0; i < y.numel(); ++i) {
      const float value = y.data_as<float>()[i];
      const bool second = i / (kRows * kCols) == 1;
      ASSERT_TRUE(second ? value == 0.0F : std::isfinite(value)) << i << " on " << backend;
    }
  }
}

TEST(EmptySum, PassesNoGradientToScalesAndAlpha) {
  const Tensor a = Tensor::empty(float8_e4m3fn, {kRows, 0});
  const Tensor b = Tensor::empty(float8_e4m3fn, {0, kCols});
  const Tensor token = filled({kRows, 1}, kNan);
  const Tensor channel = filled({1, kCols}, kInf);
  const Tensor alpha = filled({1}, kNan);
  const Tensor c = filled({kRows, kCols}, 3.0F);
  const Tensor result = filled({1}, 0.5F);
  const ScaledMmOptions forward{.scale_a = {token, per_token()},
                                .scale_b = {channel, per_channel()},
                                .scale_result = result,
                                .out_dtype = float32,
                                .alpha = alpha,
                                .beta = 2.0F,
                                .c = c};
  const MatmulWanted wanted{.scale_a = true, .scale_b = true, .alpha = true, .scale_result = true};
  const auto all_zero = [](const Tensor& t) {
    for (std::int64_t i = 0; i < t.numel(); ++i) EXPECT_EQ(t.data_as<float>()[i], 0.0F);
  };
  const MatmulGradients g = scaled_mm_vjp(filled({kRows, kCols}, 1.0F), a, b, forward, wanted);
  all_zero(g.scale_a);
  all_zero(g.scale_b);
  all_zero(g.alpha);
  EXPECT_EQ(*g.scale_result.data_as<float>(), 6.0F * kRows * kCols);  // of beta * C alone
  const MatmulGradients wild = scaled_mm_vjp(filled({kRows, kCols}, kNan), a, b, forward, wanted);
  all_zero(wild.scale_a);
  all_zero(wild.scale_b);
  all_zero(wild.alpha);
}

}  // namespace
}  // namespace octavo::test::empty_sums_test
