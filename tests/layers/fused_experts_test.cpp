// SPDX-License-Identifier: Apache-2.0
// Routes, maps, layouts, executors and rows that do not see each other.
#include <gtest/gtest.h>

#include <cfenv>
#include <limits>

#include "layers/compose.hpp"

namespace octavo::test::fused_experts_test {
namespace {

constexpr std::int64_t kExperts = 5;
constexpr std::int64_t kHidden = 48;
constexpr std::int64_t kInner = 32;

ExpertWeights packed(std::int64_t n, std::int64_t k, unsigned seed,
                     DType dtype = DType::float8_e4m3fn, std::int64_t experts = kExperts) {
  PackExpertsOptions options;
  const Tensor scale = uniforms(DType::float32, {experts, n}, seed + 50);
  options.scale = scale;
  options.activation.emplace();
  options.activation->spec.dtype = dtype;
  return pack_experts(some_experts(dtype, {experts, n, k}, seed), options);
}

ExpertsCase some_case(std::int64_t m, std::int64_t slots = 3, DType dtype = DType::float8_e4m3fn) {
  ExpertsCase c;
  c.x = gaussians(DType::bfloat16, {m, kHidden}, 1);
  c.ids = some_ids(m, slots, kExperts, 2);
  c.weights = uniforms(DType::float32, {m, slots}, 3, 0.1, 1.0);
  c.w13 = packed(2 * kInner, kHidden, 4, dtype);
  c.w2 = packed(kHidden, kInner, 5, dtype);
  return c;
}

TEST(FusedExperts, RowsDoNotSeeEachOther) {
  for (const DType dtype : {DType::float8_e4m3fn, DType::int8}) {
    ExpertsCase c = some_case(40, 3, dtype);
    c.options.matmul.batch_invariant = true;
    const Tensor all = run(c);
    for (const std::int64_t m : {0, 7, 39}) {
      ExpertsCase one = c;
      one.x = copy(c.x.view().slice(0, m, m + 1), c.x.dtype());
      one.ids = copy(c.ids.view().slice(0, m, m + 1), c.ids.dtype());
      one.weights = copy(c.weights.view().slice(0, m, m + 1), c.weights.dtype());
      expect_same_bits(run(one), all.view().slice(0, m, m + 1));
    }
  }
}

TEST(FusedExperts, RoutesToNobodyGiveZeros) {
  ExpertsCase c = some_case(4);
  c.ids = tensor_of(DType::int32, {4, 3}, [](std::int64_t i) { return i < 9 ? -1.0 : 1.0; });
  const Tensor y = run(c);
  for (std::int64_t i = 0; i < 3 * kHidden; ++i) {
    EXPECT_EQ(at(y, i), 0.0);
    EXPECT_FALSE(std::signbit(at(y, i)));
  }
  EXPECT_NE(at(y, 3, 0), 0.0);
  c.ids = tensor_of(DType::int64, {4, 3}, [](std::int64_t) { return -1.0; });
  for (std::int64_t i = 0; i < 4 * kHidden; ++i) EXPECT_EQ(at(run(c), i), 0.0);
}

TEST(FusedExperts, NoSlotsNoRowsNoInnerColumns) {
  ExpertsCase c = some_case(4, 0);
  expect_same_bits(run(c),
                   tensor_of(DType::bfloat16, {4, kHidden}, [](std::int64_t) { return 0.0; }));
  c = some_case(0, 3);
  EXPECT_EQ(shape_string(run(c)), "[0, 48]");
  c = some_case(3);
  c.w13 = packed(0, kHidden, 4);
  c.w2 = packed(kHidden, 0, 5);
  const Tensor bias = gaussians(DType::float32, {kExperts, kHidden}, 8);
  c.options.bias2 = bias;
  expect_same_bits(run(c), compose(c));
}

TEST(FusedExperts, AMapNamesTheExpertsThatAreHere) {
  ExpertsCase c = some_case(9);
  c.ids = some_ids(9, 3, 11, 6, DType::int64);
  const Tensor map = values(DType::int32, {11}, {-1, 3, -1, 0, 2, -1, 4, 1, -1, 3, -1});
  c.options.expert_map = map;
  expect_same_bits(run(c), compose(c));
}

TEST(FusedExperts, OneExpertTwiceInARow) {
  ExpertsCase c = some_case(2, 4);
  c.ids = values(DType::int32, {2, 4}, {2, 2, 2, 0, 1, 3, 1, 3});
  expect_same_bits(run(c), compose(c));
}

TEST(FusedExperts, WeightsOnTheInput) {
  for (const std::int64_t slots : {1, 3}) {
    for (const bool ruled : {true, false}) {
      ExpertsCase c = some_case(6, slots);
      c.options.apply_router_weight_on_input = true;
      if (!ruled) {
        c.w13 = pack_experts(some_experts(DType::int8, {kExperts, 2 * kInner, kHidden}, 7),
                             {.scale = 0.01});
        c.w2 = pack_experts(some_experts(DType::int8, {kExperts, kHidden, kInner}, 8),
                            {.scale = 0.01});
      }
      expect_same_bits(run(c), compose(c));
    }
  }
}

TEST(FusedExperts, RotatedActivations) {
  for (const bool on_input : {false, true}) {
    for (const DType dtype : {DType::float8_e4m3fn, DType::int8}) {
      ExpertsCase c = some_case(6, 3, dtype);
      PackExpertsOptions options{.scale = 0.01};
      options.activation.emplace();
      options.activation->spec.dtype = dtype;
      options.activation->rotation = 16;
      c.w13 = pack_experts(some_experts(dtype, {kExperts, 2 * kInner, kHidden}, 7), options);
      c.w2 = pack_experts(some_experts(dtype, {kExperts, kHidden, kInner}, 8), options);
      c.options.apply_router_weight_on_input = on_input;
      expect_same_bits(run(c), compose(c));
    }
  }
}

TEST(FusedExperts, AnyStrides) {
  ExpertsCase c = some_case(6);
  const Tensor bias = gaussians(DType::float32, {kExperts, 2 * kInner}, 8);
  c.options.bias13 = bias;
  const Tensor want = compose(c);
  const Strided x = strided(c.x, {2, 13});
  const Strided ids = strided(c.ids, {-3, 20});
  const Strided weights = strided(c.weights, {1, 6});
  const Strided biases = strided(bias, {1, kExperts});
  const Strided out = strided(want, {-1, 7});
  fill_with_poison(out.view);
  FusedExpertsOptions options = c.options;
  options.bias13 = biases.view;
  options.out = out.view;
  (void)fused_experts(x.view, c.w13, c.w2, weights.view, ids.view, options);
  expect_same_bits(out.view, want);
}

TEST(FusedExperts, AnyRankOfX) {
  ExpertsCase c = some_case(6);
  const Tensor want = run(c);
  TensorView x = c.x.view();
  x.rank = 3;
  x.shape = {2, 3, kHidden};
  x.strides = {3 * kHidden, kHidden, 1};
  const Tensor y = fused_experts(x, c.w13, c.w2, c.weights, c.ids);
  EXPECT_EQ(shape_string(y), "[2, 3, 48]");
  EXPECT_TRUE(bytes_of(y) == bytes_of(want));
}

TEST(FusedExperts, OutputTypes) {
  ExpertsCase c = some_case(5);
  for (const DType dtype : {DType::float32, DType::float16, DType::float8_e4m3fn}) {
    c.options.out_dtype = dtype;
    expect_same_bits(run(c), compose(c));
  }
}

TEST(FusedExperts, NotANumberStaysInItsRow) {
  ExpertsCase c = some_case(6);
  c.ids = values(DType::int32, {6, 3}, {0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2});
  const Tensor clean = run(c);
  kit::store(c.x, 2 * kHidden + 5, std::numeric_limits<double>::quiet_NaN());
  const Tensor y = run(c);
  for (std::int64_t m = 0; m < 6; ++m) {
    for (std::int64_t j = 0; j < kHidden; ++j) {
      if (m == 2) {
        EXPECT_TRUE(std::isnan(at(y, m, j)));
      } else {
        EXPECT_EQ(at(y, m, j), at(clean, m, j));
      }
    }
  }
}

TEST(FusedExperts, TheRoundingModeOfTheCallerHasNoInfluence) {
  const ExpertsCase c = some_case(9);
  const Tensor want = run(c);
  std::fesetround(FE_UPWARD);
  const Tensor got = run(c);
  EXPECT_EQ(std::fegetround(), FE_UPWARD);
  std::fesetround(FE_TONEAREST);
  expect_same_bits(got, want);
}

TEST(FusedExperts, ALentWorkspaceIsEnoughOrTheSentenceSaysHowMuch) {
  const ExpertsCase c = some_case(9);
  const std::size_t bytes =
      explain_fused_experts(c.x, c.w13, c.w2, c.weights, c.ids).workspace_bytes;
  ASSERT_GT(bytes, 0U);
  std::vector<std::uint8_t> memory(bytes + 63);
  const Workspace enough{memory.data(), memory.size()};
  expect_same_bits(run(c, {.workspace = &enough}), run(c));
  const Workspace small{memory.data(), bytes / 2};
  expect_error(
      [&] { (void)run(c, {.workspace = &small}); }, Code::invalid_argument,
      "fused_experts: context.workspace.bytes must be at least " + std::to_string(bytes + 63));
}

TEST(FusedExperts, ExplainSaysWhatRunsBothProducts) {
  const ExpertsCase c = some_case(9);
  const FusedExpertsExplanation e =
      explain_fused_experts(c.x, c.w13, c.w2, c.weights, c.ids, {.backend = "generic"});
  EXPECT_EQ(e.routes, static_cast<std::int64_t>(routes_of(c).size()));
  EXPECT_GE(e.touched, 1);
  for (const Explanation& product : e.products) {
    for (const Candidate& candidate : product.candidates) {
      EXPECT_EQ(candidate.chosen, candidate.backend == "generic");
    }
  }
  EXPECT_NE(e.to_string().find("by w2"), std::string::npos);
}

}  // namespace
}  // namespace octavo::test::fused_experts_test
