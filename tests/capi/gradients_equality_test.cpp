// SPDX-License-Identifier: Apache-2.0
// Gradients in C have the bits of C++.
#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "capi/compare.hpp"
#include "capi/sample.hpp"

namespace octavo::test::gradients_equality_test {
namespace {

// Every gradient of a product, in C and in C++.
struct Field {
  octavo_tensor* octavo_matmul_gradients::*c;
  Tensor MatmulGradients::*cxx;
};
using C = octavo_matmul_gradients;
using Cxx = MatmulGradients;
constexpr std::array<Field, 9> kFields{{{&C::a, &Cxx::a},
                                        {&C::b, &Cxx::b},
                                        {&C::bias, &Cxx::bias},
                                        {&C::scale_a, &Cxx::scale_a},
                                        {&C::scale_b, &Cxx::scale_b},
                                        {&C::alpha, &Cxx::alpha},
                                        {&C::beta, &Cxx::beta},
                                        {&C::c, &Cxx::c},
                                        {&C::scale_result, &Cxx::scale_result}}};

// What was wanted is there and the same, all else is NULL; releases it.
void expect_same_gradients(octavo_code code, const C& got, const Cxx& expected) {
  ASSERT_EQ(code, OCTAVO_OK) << octavo_last_error();
  for (std::size_t i = 0; i < kFields.size(); ++i) {
    SCOPED_TRACE(i);
    const Tensor& one = expected.*kFields[i].cxx;
    ASSERT_EQ(got.*kFields[i].c != nullptr, one.defined());
    if (one.defined()) expect_same_bits(code, got.*kFields[i].c, one);
  }
}

octavo_matmul_vjp_options wanting(std::uint64_t bits) {
  octavo_matmul_vjp_options options = octavo_matmul_vjp_options_init();
  options.wanted = bits;
  return options;
}

TEST(CApiGradientEquality, ScaledMmOfEveryArgument) {
  const Tensor a = random(int8, {5, 70}, 1);
  const Tensor b = random(int8, {33, 70}, 2);
  const Tensor scale_a = random(float32, {5, 1}, 3);
  const Tensor scale_b = random(float32, {33, 2}, 4);
  const Tensor bias = random(bfloat16, {33}, 5);
  const Tensor c = random(float16, {5, 33}, 6);
  const Tensor grad = random(bfloat16, {5, 33}, 7);
  const TensorView groups = scale_b.view().transposed();
  const octavo_view views[] = {describe(a),    describe(b), describe(scale_a), describe(groups),
                               describe(bias), describe(c), describe(grad)};
  const octavo_operand left = operand_of(&views[0]);
  const octavo_operand right = operand_of(&views[1]);
  octavo_scaled_mm_options forward = octavo_scaled_mm_options_init();
  forward.scale_a = octavo_scale_tensor(&views[2], OCTAVO_PER_TOKEN);
  forward.scale_b = octavo_scale_tensor(&views[3], OCTAVO_GROUP);
  forward.scale_b.rows = 64;
  forward.bias = &views[4];
  forward.scale_result = octavo_scale_number(0.75);
  forward.alpha = octavo_scale_number(1.5);
  forward.beta = octavo_scale_number(-0.5);
  forward.c = &views[5];
  forward.flags = OCTAVO_TRANS_B;
  const ScaledMmOptions same{.scale_a = {scale_a, per_token()},
                             .scale_b = {groups, group(64)},
                             .bias = bias,
                             .scale_result = 0.75,
                             .alpha = 1.5,
                             .beta = -0.5,
                             .c = c,
                             .trans_b = true};
  for (const bool float32_gradients : {false, true}) {
    octavo_matmul_vjp_options options =
        wanting(OCTAVO_WANT_A | OCTAVO_WANT_B | OCTAVO_WANT_BIAS | OCTAVO_WANT_SCALE_A |
                OCTAVO_WANT_SCALE_B | OCTAVO_WANT_ALPHA | OCTAVO_WANT_BETA | OCTAVO_WANT_C |
                OCTAVO_WANT_SCALE_RESULT);
    if (float32_gradients) {
      options.flags = OCTAVO_FLOAT32_GRADIENTS | OCTAVO_DEQUANTIZED_GRADIENTS;
      options.dtype = OCTAVO_FLOAT32;
    }
    C d = octavo_matmul_gradients_init();
    const octavo_code code =
        octavo_scaled_mm_vjp(&views[6], &left, &right, &forward, &options, nullptr, &d);
    expect_same_gradients(
        code, d,
        scaled_mm_vjp(grad, a, b, same, {true, true, true, true, true, true, true, true, true},
                      {.dtype = float32_gradients ? float32 : undefined,
                       .float32 = float32_gradients,
                       .dequantized = float32_gradients}));
  }
}

TEST(CApiGradientEquality, LinearWithARule) {
  const Tensor x = random(bfloat16, {2, 3, 64}, 1);
  const Tensor w = random(int8, {64, 20}, 2);
  const Tensor grad = random(bfloat16, {2, 3, 20}, 3);
  const octavo_view views[] = {describe(x), describe(w), describe(grad)};
  const octavo_operand weight = operand_of(&views[1]);
  const octavo_activation rule = octavo_activation_init();
  octavo_pack_options pack_options = octavo_pack_options_init();
  pack_options.activation = &rule;
  octavo_packed* packed = nullptr;
  ASSERT_EQ(octavo_pack(&weight, &pack_options, nullptr, &packed), OCTAVO_OK);
  const octavo_matmul_vjp_options options = wanting(OCTAVO_WANT_A | OCTAVO_WANT_B);
  C d = octavo_matmul_gradients_init();
  const octavo_code code =
      octavo_linear_vjp(&views[2], &views[0], packed, nullptr, &options, nullptr, &d);
  expect_same_gradients(
      code, d,
      linear_vjp(grad, x, pack(w, {.activation = ActivationQuant{}}), {}, {.a = true, .b = true}));
  octavo_packed_release(packed);
}

TEST(CApiGradientEquality, GroupsAndBatches) {
  const Tensor a = random(int8, {7, 40}, 1);
  const Tensor b = random(int8, {2, 40, 20}, 2);
  const Tensor grad = random(float32, {7, 20}, 3);
  const Tensor scale = random(float32, {7}, 4);
  std::int32_t ends[] = {3, 6};
  const TensorView cut(ends, int32, {2});
  const octavo_view views[] = {describe(a), describe(b), describe(grad), describe(scale),
                               describe(cut)};
  const octavo_operand left = operand_of(&views[0]);
  const octavo_operand right = operand_of(&views[1]);
  octavo_grouped_mm_options forward = octavo_grouped_mm_options_init();
  forward.offs = &views[4];
  forward.scale_a = octavo_scale_tensor(&views[3], OCTAVO_PER_TOKEN);
  octavo_matmul_vjp_options options = wanting(OCTAVO_WANT_A | OCTAVO_WANT_B | OCTAVO_WANT_SCALE_A);
  C d = octavo_matmul_gradients_init();
  octavo_code code =
      octavo_grouped_mm_vjp(&views[2], &left, &right, &forward, &options, nullptr, &d);
  expect_same_gradients(code, d,
                        grouped_mm_vjp(grad, a, b, {.offs = cut, .scale_a = {scale, per_token()}},
                                       {.a = true, .b = true, .scale_a = true}));

  const Tensor batch = random(int8, {2, 5, 40}, 5);
  const Tensor batch_grad = random(float32, {2, 5, 20}, 6);
  const octavo_view batch_view = describe(batch);
  const octavo_view batch_grad_view = describe(batch_grad);
  const octavo_operand input = operand_of(&batch_view);
  octavo_scaled_grouped_mm_options scaled = octavo_scaled_grouped_mm_options_init();
  scaled.scale = octavo_scale_number(0.3);
  options.wanted = OCTAVO_WANT_A | OCTAVO_WANT_B | OCTAVO_WANT_ALPHA;
  code = octavo_scaled_grouped_mm_vjp(&batch_grad_view, &input, &right, &scaled, &options, nullptr,
                                      &d);
  expect_same_gradients(code, d,
                        scaled_grouped_mm_vjp(batch_grad, batch, b, {.scale = 0.3},
                                              {.a = true, .b = true, .alpha = true}));
}

TEST(CApiGradientEquality, AListOfSeveralShapes) {
  const std::vector<Tensor> xs{random(bfloat16, {3, 16}, 1), random(bfloat16, {2, 2, 24}, 2)};
  const std::vector<Tensor> ws{random(bfloat16, {16, 8}, 3), random(bfloat16, {24, 9}, 4)};
  const std::vector<Tensor> gs{random(float32, {3, 8}, 5), random(float32, {2, 2, 9}, 6)};
  const Tensor bias = random(float32, {9}, 7);
  const Tensor scale = random(float32, {8}, 8);
  std::vector<octavo_view> views;
  for (const auto* list : {&xs, &ws, &gs}) {
    for (const Tensor& one : *list) views.push_back(describe(one.view()));
  }
  const octavo_view bias_view = describe(bias);
  const octavo_view scale_view = describe(scale);
  std::vector<octavo_operand> operands;
  for (std::size_t i = 0; i < 4; ++i) operands.push_back(operand_of(&views[i]));
  const octavo_operand* inputs[] = {&operands[0], &operands[1]};
  const octavo_operand* weights[] = {&operands[2], &operands[3]};
  const octavo_view* grads[] = {&views[4], &views[5]};
  const octavo_view* biases[] = {nullptr, &bias_view};
  octavo_scale scales[2] = {octavo_scale_tensor(&scale_view, OCTAVO_AUTOMATIC), {}};
  octavo_grouped_list_options forward = octavo_grouped_list_options_init();
  forward.biases = biases;
  forward.scales_b = scales;
  const octavo_matmul_vjp_options options =
      wanting(OCTAVO_WANT_A | OCTAVO_WANT_B | OCTAVO_WANT_BIAS | OCTAVO_WANT_SCALE_B);
  C d[2] = {octavo_matmul_gradients_init(), octavo_matmul_gradients_init()};
  C* results[] = {&d[0], &d[1]};
  const octavo_code code =
      octavo_grouped_mm_list_vjp(grads, inputs, weights, 2, &forward, &options, nullptr, results);
  const std::vector<TensorView> grad_views{gs[0], gs[1]};
  const std::vector<Operand> left{xs[0], xs[1]};
  const std::vector<Operand> right{ws[0], ws[1]};
  const std::vector<TensorView> bias_views{{}, bias};
  const std::vector<Scale> scale_arguments{scale, {}};
  const std::vector<MatmulGradients> expected =
      grouped_mm_vjp(grad_views, left, right, {.biases = bias_views, .scales_b = scale_arguments},
                     {.a = true, .b = true, .bias = true, .scale_b = true});
  EXPECT_FALSE(expected[0].bias.defined() || expected[1].scale_b.defined());
  for (std::size_t i = 0; i < 2; ++i) expect_same_gradients(code, d[i], expected[i]);
}

TEST(CApiGradientEquality, Recipes) {
  using functional::RecipeScale;
  using functional::ScalingType;
  const Tensor a = random(float8_e4m3fn, {5, 32}, 1);
  const Tensor b = random(float8_e4m3fn, {32, 7}, 2);
  const Tensor rows = random(float32, {5, 1}, 3);
  const Tensor columns = random(float32, {1, 7}, 4);
  const Tensor grad = random(bfloat16, {5, 7}, 5);
  const octavo_view views[] = {describe(a), describe(b), describe(rows), describe(columns),
                               describe(grad)};
  const octavo_recipe_scale left{&views[2], OCTAVO_ROW_WISE, OCTAVO_NO_SWIZZLE};
  const octavo_recipe_scale right{&views[3], OCTAVO_ROW_WISE, OCTAVO_NO_SWIZZLE};
  const octavo_matmul_vjp_options options =
      wanting(OCTAVO_WANT_A | OCTAVO_WANT_B | OCTAVO_WANT_SCALE_A | OCTAVO_WANT_SCALE_B);
  const MatmulWanted wanted{.a = true, .b = true, .scale_a = true, .scale_b = true};
  const RecipeScale of_a{rows, ScalingType::RowWise};
  const RecipeScale of_b{columns, ScalingType::RowWise};
  C d = octavo_matmul_gradients_init();
  octavo_code code = octavo_functional_scaled_mm_vjp(&views[4], &views[0], &views[1], &left, 1,
                                                     &right, 1, nullptr, &options, nullptr, &d);
  expect_same_gradients(code, d,
                        functional::scaled_mm_vjp(grad, a, b, {&of_a, 1}, {&of_b, 1}, {}, wanted));

  const Tensor a3 = random(int8, {2, 5, 32}, 6);
  const Tensor b3 = random(int8, {2, 32, 7}, 7);
  const Tensor one = random(float32, {1}, 8);
  const Tensor grad3 = random(bfloat16, {2, 5, 7}, 9);
  const octavo_view more[] = {describe(a3), describe(b3), describe(one), describe(grad3)};
  const octavo_recipe_scale whole{&more[2], OCTAVO_TENSOR_WISE, OCTAVO_NO_SWIZZLE};
  const RecipeScale same{one};
  code = octavo_functional_scaled_grouped_mm_vjp(&more[3], &more[0], &more[1], &whole, 1, &whole, 1,
                                                 nullptr, &options, nullptr, &d);
  expect_same_gradients(
      code, d,
      functional::scaled_grouped_mm_vjp(grad3, a3, b3, {&same, 1}, {&same, 1}, {}, wanted));
}

TEST(CApiGradientEquality, Quantizers) {
  const Tensor x = random(bfloat16, {6, 40}, 1);
  const Tensor grad = random(float32, {6, 40}, 2);
  const Tensor step = random(float32, {6, 1}, 3);
  for (std::int64_t i = 0; i < 6; ++i) {
    step.data_as<float>()[i] = 0.005F + 0.001F * static_cast<float>(i);
  }
  const octavo_view views[] = {describe(x), describe(grad), describe(step)};
  octavo_quantize_options forward = octavo_quantize_options_init();
  forward.granularity = OCTAVO_PER_TOKEN;
  forward.scale = octavo_scale_tensor(&views[2], OCTAVO_PER_TOKEN);
  octavo_quantize_vjp_options options = octavo_quantize_vjp_options_init();
  options.wanted = OCTAVO_WANT_X | OCTAVO_WANT_SCALE;
  options.gradient_scale = 0.125F;
  octavo_quantize_gradients d = octavo_quantize_gradients_init();
  octavo_code code = octavo_quantize_vjp(&views[1], &views[0], &forward, &options, nullptr, &d);
  const QuantizeGradients expected =
      quantize_vjp(grad, x, {.granularity = per_token(), .scale = {step, per_token()}},
                   {.x = true, .scale = true}, 0.125F);
  expect_same_bits(code, d.x, expected.x);
  expect_same_bits(code, d.scale, expected.scale);

  const Quantized codes = quantize(x, {.dtype = uint8, .azp = true});
  octavo_quantize_options shifted = octavo_quantize_options_init();
  shifted.dtype = OCTAVO_UINT8;
  shifted.flags = OCTAVO_AZP;
  octavo_quantized* q = nullptr;
  ASSERT_EQ(octavo_quantize(&views[0], &shifted, nullptr, &q), OCTAVO_OK);
  octavo_dequantize_vjp_options all = octavo_dequantize_vjp_options_init();
  all.wanted = OCTAVO_WANT_DATA | OCTAVO_WANT_SCALE | OCTAVO_WANT_AZP;
  octavo_dequantize_gradients back = octavo_dequantize_gradients_init();
  code = octavo_dequantize_vjp(&views[1], q, &all, nullptr, &back);
  const DequantizeGradients same =
      dequantize_vjp(grad, codes, {.data = true, .scale = true, .azp = true});
  expect_same_bits(code, back.data, same.data);
  expect_same_bits(code, back.scale, same.scale);
  expect_same_bits(code, back.azp, same.azp);
  octavo_quantized_release(q);
}

}  // namespace
}  // namespace octavo::test::gradients_equality_test
