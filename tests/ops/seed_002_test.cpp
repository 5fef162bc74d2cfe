// SPDX-License-Identifier: Apache-2.0
// Every example of the seed document of grouped_mm, with its own numbers and shapes.
#include "ops/helpers.hpp"

namespace octavo::test::seed_002_test {
namespace {

std::vector<Operand> operands(const std::vector<Tensor>& tensors) {
  return {tensors.begin(), tensors.end()};
}

// input [p, k] @ weight [k, m] (+ bias)
void expect_entry(const TensorView& output, const TensorView& input, const TensorView& weight,
                  const TensorView& bias = {}) {
  expect_near(output, input.shape[1], [&](std::int64_t i, std::int64_t j) {
    Sum sum = dot(input, weight, i, j);
    if (bias.defined()) sum.add(at(bias, j));
    return sum;
  });
}

TEST(Seed002, MultiHeadAttentionProcessesHeadsIndependently) {
  std::vector<Tensor> queries;
  std::vector<Tensor> key_weights;
  for (unsigned h = 0; h < 8; ++h) {
    queries.push_back(gaussians(float32, {32 * 10, 64}, 10 + h));
    key_weights.push_back(gaussians(float32, {64, 64}, 20 + h));
  }
  const std::vector<Tensor> outputs = grouped_mm(operands(queries), operands(key_weights));
  ASSERT_EQ(outputs.size(), 8U);
  for (std::size_t h = 0; h < 8; ++h) expect_entry(outputs[h], queries[h], key_weights[h]);
}

TEST(Seed002, GroupedLinearLayerWithOneShapePerGroup) {
  const std::vector<Tensor> input{gaussians(float32, {100, 50}, 1),
                                  gaussians(float32, {100, 75}, 2),
                                  gaussians(float32, {100, 30}, 3)};
  const std::vector<Tensor> weights{gaussians(float32, {50, 64}, 4),
                                    gaussians(float32, {75, 128}, 5),
                                    gaussians(float32, {30, 32}, 6)};
  const std::vector<Tensor> biases{gaussians(float32, {64}, 7), gaussians(float32, {128}, 8),
                                   gaussians(float32, {32}, 9)};
  const std::vector<TensorView> given(biases.begin(), biases.end());
  const std::vector<Tensor> outputs =
      grouped_mm(operands(input), operands(weights), {.biases = given});
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(outputs[i].size(0), 100);
    EXPECT_EQ(outputs[i].size(1), biases[i].size(0));
    expect_entry(outputs[i], input[i], weights[i], biases[i]);
  }
}

TEST(Seed002, EnsembleOverOneInputTakenThreeTimes) {
  const Tensor batch = gaussians(float32, {16, 40}, 1);
  const std::vector<Tensor> inputs{batch, batch, batch};
  const std::vector<Tensor> models{gaussians(float32, {40, 12}, 2), gaussians(float32, {40, 12}, 3),
                                   gaussians(float32, {40, 12}, 4)};
  const std::vector<Tensor> predictions = grouped_mm(operands(inputs), operands(models));
  for (std::size_t i = 0; i < 3; ++i) expect_entry(predictions[i], batch, models[i]);
  // The ensemble's mean is the product with the mean of the models.
  for (std::int64_t i = 0; i < 16; ++i) {
    for (std::int64_t j = 0; j < 12; ++j) {
      double mean = 0.0;
      Sum exact;
      for (std::size_t model = 0; model < 3; ++model) {
        mean += at(predictions[model], i, j) / 3.0;
        exact.add(dot(batch, models[model], i, j).value / 3.0);
      }
      EXPECT_NEAR(mean, exact.value, 1e-4);
    }
  }
}

TEST(Seed002, Float32ProductsCastToInt8RoundToEvenAndSaturate) {
  const std::vector<Tensor> inputs{gaussians(float32, {100, 64}, 1, 4.0),
                                   gaussians(float32, {100, 64}, 2, 8.0)};
  const std::vector<Tensor> weights{gaussians(float32, {64, 32}, 3),
                                    gaussians(float32, {64, 32}, 4)};
  const std::vector<Tensor> outputs =
      grouped_mm(operands(inputs), operands(weights), {.biases = {}, .out_dtype = int8});
  std::int64_t saturated = 0;
  for (std::size_t e = 0; e < 2; ++e) {
    ASSERT_EQ(outputs[e].dtype(), int8);
    for (std::int64_t i = 0; i < 100; ++i) {
      for (std::int64_t j = 0; j < 32; ++j) {
        Sum exact = dot(inputs[e], weights[e], i, j);
        exact.value = std::min(127.0, std::max(-128.0, exact.value));
        saturated += std::abs(exact.value) >= 127.0 ? 1 : 0;
        expect_near(outputs[e], i, j, exact, 64);
      }
    }
  }
  EXPECT_GT(saturated, 0);
}

TEST(Seed002, TiesOfTheInt8CastGoToEven) {
  const std::vector<Tensor> inputs{values(float32, {7, 1}, {0.5, 1.5, 2.5, -0.5, -1.5, 400, -400})};
  const std::vector<Tensor> one{values(float32, {1, 1}, {1})};
  const Tensor out =
      grouped_mm(operands(inputs), operands(one), {.biases = {}, .out_dtype = int8})[0];
  const std::int8_t want[] = {0, 2, 2, 0, -2, 127, -128};
  for (std::int64_t i = 0; i < 7; ++i) EXPECT_EQ(out.data_as<std::int8_t>()[i], want[i]) << i;
}

TEST(Seed002, GroupedConvolutionConcatenatesIntoOneBuffer) {
  constexpr std::int64_t kBatch = 16;
  constexpr std::int64_t kPerGroup = 24;
  std::vector<Tensor> groups;
  std::vector<Tensor> group_weights;
  for (unsigned g = 0; g < 4; ++g) {
    groups.push_back(gaussians(float32, {kBatch, 32}, 30 + g));
    group_weights.push_back(gaussians(float32, {32, kPerGroup}, 40 + g));
  }
  // torch.cat(group_outputs, 1) without a copy: every output is a column block of one tensor.
  const Tensor output = Tensor::empty(float32, {kBatch, 4 * kPerGroup});
  std::vector<TensorView> blocks;
  for (std::int64_t g = 0; g < 4; ++g) {
    blocks.push_back(output.view().slice(1, g * kPerGroup, (g + 1) * kPerGroup));
  }
  const std::vector<Tensor> separate = grouped_mm(operands(groups), operands(group_weights));
  (void)grouped_mm(operands(groups), operands(group_weights), {.biases = {}, .outs = blocks});
  for (std::size_t g = 0; g < 4; ++g) {
    expect_entry(separate[g], groups[g], group_weights[g]);
    expect_same_bits(blocks[g], separate[g]);
  }
}

TEST(Seed002, InputsOfOneTwoAndMoreDimensions) {
  const std::vector<Tensor> inputs{
      gaussians(float32, {6}, 1), gaussians(float32, {5, 6}, 2), gaussians(float32, {2, 3, 6}, 3),
      gaussians(float32, {2, 0, 3, 6}, 4), gaussians(bfloat16, {1, 2, 1, 2, 6}, 5)};
  std::vector<Tensor> weights;
  for (unsigned i = 0; i < 5; ++i) {
    weights.push_back(gaussians(i == 4 ? bfloat16 : float32, {6, 4 + i}, 10 + i));
  }
  const std::vector<Tensor> outputs = grouped_mm(operands(inputs), operands(weights));
  const char* const shapes[] = {"[4]", "[5, 5]", "[2, 3, 6]", "[2, 0, 3, 7]", "[1, 2, 1, 2, 8]"};
  for (std::size_t e = 0; e < 5; ++e) {
    EXPECT_EQ(shape_string(outputs[e]), shapes[e]);
    EXPECT_EQ(outputs[e].dtype(), inputs[e].dtype());
    const std::int64_t rows = inputs[e].numel() / 6;
    const TensorView x(inputs[e].data(), inputs[e].dtype(), {rows, 6});
    const TensorView y(outputs[e].data(), outputs[e].dtype(), {rows, weights[e].size(1)});
    expect_entry(y, x, weights[e]);
  }
}

TEST(Seed002, SomeBiasesMayBeNull) {
  const std::vector<Tensor> inputs{gaussians(float32, {3, 4}, 1), gaussians(float32, {2, 4}, 2),
                                   gaussians(float32, {4}, 3)};
  const std::vector<Tensor> weights{gaussians(float32, {4, 5}, 4), gaussians(float32, {4, 6}, 5),
                                    gaussians(float32, {4, 7}, 6)};
  const Tensor bias = gaussians(bfloat16, {6}, 7);
  const std::vector<TensorView> biases{{}, bias, {}};
  const std::vector<Tensor> with =
      grouped_mm(operands(inputs), operands(weights), {.biases = biases});
  const std::vector<Tensor> without = grouped_mm(operands(inputs), operands(weights));
  expect_same_bits(with[0], without[0]);
  expect_same_bits(with[2], without[2]);
  for (std::int64_t i = 0; i < 2; ++i) {
    for (std::int64_t j = 0; j < 6; ++j) {
      EXPECT_EQ(float_at(with[1], i, j), float_at(without[1], i, j) + float_at(bias, j));
    }
  }
}

TEST(Seed002, AnEmptyListGivesAnEmptyList) {
  EXPECT_TRUE(grouped_mm(std::vector<Operand>{}, std::vector<Operand>{}).empty());
}

TEST(Seed002, ListErrorsNameTheListOrTheEntry) {
  const std::vector<Tensor> inputs{gaussians(float32, {3, 4}, 1), gaussians(float32, {3, 4}, 2)};
  const std::vector<Tensor> weights{gaussians(float32, {4, 5}, 3), gaussians(float32, {6, 5}, 4)};
  const std::vector<Operand> x = operands(inputs);
  const std::vector<Operand> w = operands(weights);
  const std::vector<Operand> one_w{w[0]};
  const std::vector<TensorView> one_bias(1);
  expect_error([&] { grouped_mm(x, one_w); }, Code::invalid_argument,
               "grouped_mm: weights.size must equal inputs.size = 2; got 1 (lists are not "
               "broadcast)",
               true);
  expect_error(
      [&] { grouped_mm(x, w, {.biases = one_bias}); }, Code::invalid_argument,
      "grouped_mm: biases.size must equal inputs.size = 2; got 1 (lists are not broadcast)", true);
  expect_error([&] { grouped_mm(x, w); }, Code::invalid_argument,
               "grouped_mm: weights[1].shape[0] must equal inputs[1].shape[1] = 4; got 6", true);
}

}  // namespace
}  // namespace octavo::test::seed_002_test
