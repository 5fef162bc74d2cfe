// SPDX-License-Identifier: Apache-2.0
// Every example of the seed document of scaled_grouped_mm, with its own numbers and shapes.
#include "ops/helpers.hpp"

namespace octavo::test::seed_001_test {
namespace {

constexpr const char* kTransposeHint =
    "scaled_grouped_mm: weight.shape[1] must equal input.shape[2] = 64; got 10 (for a weight given "
    "as [batch, n, k], as in Q @ K^T, say trans_b)";

// output[b] = (input[b] @ weight[b]) * scale, every `step`-th row of each batch.
void expect_batches(const Tensor& output, const TensorView& input, const TensorView& weight,
                    double scale, std::int64_t step = 1) {
  ASSERT_EQ(output.rank(), 3);
  for (std::int64_t b = 0; b < output.size(0); ++b) {
    const TensorView x = input[b];
    const TensorView w = weight[b];
    const TensorView y = output.view()[b];
    for (std::int64_t i = b % step; i < y.shape[0]; i += step) {
      for (std::int64_t j = 0; j < y.shape[1]; ++j) {
        Sum exact = dot(x, w, i, j);
        exact.times(scale);
        expect_near(y, i, j, exact, x.shape[1]);
        if (testing::Test::HasFatalFailure()) return;
      }
    }
  }
}

// The document multiplies Q [32, 10, 64] with K [32, 10, 64] as it is, against its own rule that
// input.shape[2] equals weight.shape[1]: that is an error, and its text says what was meant.
TEST(Seed001, AttentionScalesOfUntransposedKeysAreTheInnerDimensionError) {
  const Tensor queries = gaussians(float32, {32, 10, 64}, 1);
  const Tensor keys = gaussians(float32, {32, 10, 64}, 2);
  const double scale = 1.0 / std::sqrt(64.0);
  expect_error([&] { scaled_grouped_mm(queries, keys, {.scale = scale}); }, Code::invalid_argument,
               kTransposeHint, true);
  const Tensor scores = scaled_grouped_mm(queries, keys, {.scale = scale, .trans_b = true});
  EXPECT_EQ(shape_string(scores), "[32, 10, 10]");
  EXPECT_EQ(scores.dtype(), float32);
  expect_batches(scores, queries, keys.view().transposed(), scale);
}

TEST(Seed001, BatchedProductWithAQuantizationScale) {
  const Tensor input = gaussians(float32, {16, 128, 256}, 3);
  const Tensor weights = gaussians(float32, {16, 256, 128}, 4);
  const Tensor output = scaled_grouped_mm(input, weights, {.scale = 0.1});
  EXPECT_EQ(shape_string(output), "[16, 128, 128]");
  expect_batches(output, input, weights, double{0.1F}, 4);
}

TEST(Seed001, ALearnableScaleIsANumberOrAOneElementTensor) {
  const Tensor batch = gaussians(float32, {8, 100, 50}, 5);
  const Tensor weights = gaussians(float32, {8, 50, 30}, 6);
  const Tensor by_number = scaled_grouped_mm(batch, weights, {.scale = 1.5});
  expect_batches(by_number, batch, weights, 1.5);
  for (const Shape& shape : {Shape{}, Shape{1}, Shape{1, 1}}) {
    const Tensor learnable = values(float32, shape, {1.5});
    expect_same_bits(scaled_grouped_mm(batch, weights, {.scale = learnable}), by_number);
  }
}

TEST(Seed001, MultiHeadAttentionOverBatchTimesHeads) {
  const Tensor q = gaussians(float32, {32 * 8, 10, 64}, 7);
  const Tensor k = gaussians(float32, {32 * 8, 10, 64}, 8);
  const double scale = 1.0 / std::sqrt(64.0);
  expect_error([&] { scaled_grouped_mm(q, k, {.scale = scale}); }, Code::invalid_argument,
               kTransposeHint, true);
  const Tensor attention = scaled_grouped_mm(q, k, {.scale = scale, .trans_b = true});
  EXPECT_EQ(shape_string(attention), "[256, 10, 10]");
  expect_batches(attention, q, k.view().transposed(), scale);
}

TEST(Seed001, ScaleOneIsBitEqualToNoScale) {
  const Tensor input = gaussians(float32, {64, 256, 512}, 9);
  const Tensor weights = gaussians(float32, {64, 512, 256}, 10);
  const Tensor scaled = scaled_grouped_mm(input, weights, {.scale = 1.0});
  expect_same_bits(scaled, scaled_grouped_mm(input, weights));
  expect_batches(scaled, input, weights, 1.0, 128);
}

TEST(Seed001, DimensionsAndBatchSizesAreChecked) {
  const Tensor input = gaussians(float32, {3, 4, 5}, 11);
  const Tensor weight = gaussians(float32, {3, 5, 6}, 12);
  const Tensor other_batch = gaussians(float32, {2, 5, 6}, 13);
  const Tensor other_inner = gaussians(float32, {3, 7, 6}, 14);
  const Tensor matrix = gaussians(float32, {5, 6}, 15);
  const struct {
    const Tensor& a;
    const Tensor& b;
    const char* sentence;
  } rows[] = {
      {input, matrix, "scaled_grouped_mm: weight.shape must be 3-D [batch, k, n]; got [5, 6]"},
      {matrix, weight, "scaled_grouped_mm: input.shape must be 3-D [batch, m, k]; got [5, 6]"},
      {input, other_batch,
       "scaled_grouped_mm: weight.shape[0] must equal input.shape[0] = 3; got 2"},
      {input, other_inner,
       "scaled_grouped_mm: weight.shape[1] must equal input.shape[2] = 5; got 7"},
  };
  for (const auto& row : rows) {
    expect_error([&] { scaled_grouped_mm(row.a, row.b); }, Code::invalid_argument, row.sentence,
                 true);
  }
}

}  // namespace
}  // namespace octavo::test::seed_001_test
