// SPDX-License-Identifier: Apache-2.0
// The gradients of linear and of PyTorch's recipes, threads, and backends.
#include <array>

#include "gradients/check.hpp"

namespace octavo::test::linear_test {
namespace {

constexpr std::int64_t kM = 6, kN = 10, kK = 40;

struct Layer {
  const char* name;
  Quantized weight;
  std::optional<ActivationQuant> activation;
};

std::vector<Layer> layers() {
  const Tensor w = gaussians(float32, {kN, kK}, 1);
  const auto quantized = [&](DType dtype, const Granularity& g) {
    return quantize(w.transposed(), {.dtype = dtype, .granularity = g, .side = Side::b});
  };
  const auto rule = [](DType dtype, const Granularity& g, bool azp = false) {
    ActivationQuant quant;
    quant.spec = {.dtype = dtype, .granularity = g, .azp = azp};
    return quant;
  };
  ActivationQuant llm;
  llm.vectorwise = true;
  llm.outlier_threshold = 2.0F;
  return {{"W8A16", quantized(int8, per_channel()), {}},
          {"int8", quantized(int8, per_channel()), rule(int8, per_token())},
          {"int8 azp", quantized(int8, per_channel()), rule(int8, per_token(), true)},
          {"fp8", quantized(float8_e4m3fn, per_channel()), rule(float8_e4m3fn, per_tensor())},
          {"blocks", quantized(float8_e4m3fn, block(16, 16)), rule(float8_e4m3fn, group(16))},
          {"LLM.int8", quantized(int8, per_channel()), llm}};
}

TEST(LinearGradients, AreThoseOfTheDequantizedProduct) {
  const Tensor x = gaussians(bfloat16, {2, 3, kK}, 2);
  TensorView rows = x;
  rows.rank = 2;
  rows.shape = {kM, kK};
  rows.strides = {kK, 1};
  const Tensor grad = gaussians(bfloat16, {2, 3, kN}, 3);
  TensorView grad_rows = grad;
  grad_rows.rank = 2;
  grad_rows.shape = {kM, kN};
  grad_rows.strides = {kN, 1};
  const Tensor bias = gaussians(float32, {kN}, 4);
  for (const Layer& layer : layers()) {
    SCOPED_TRACE(layer.name);
    const PackedWeight packed = pack(layer.weight, {.activation = layer.activation});
    const bool llm = layer.activation && layer.activation->vectorwise;
    const MatmulGradients d =
        linear_vjp(grad, x, packed, {.bias = bias}, {.a = true, .b = !llm, .bias = true});
    EXPECT_EQ(shape_string(d.a), shape_string(x.view()));
    EXPECT_EQ(d.a.dtype(), bfloat16);
    // x as it is for its own gradient, as it was quantised for the weight's.
    const ScaledMmOptions o{.bias = bias};
    const ExactGradients straight =
        exact_gradients(scaled_mm_problem(rows, layer.weight, o), grad_rows, {.dequantized = true});
    MatmulGradients own;
    own.a = Tensor::adopt(nullptr, [&] {
      TensorView v = d.a;
      v.rank = 2;
      v.shape = {kM, kK};
      v.strides = {kK, 1};
      return v;
    }());
    own.bias = d.bias;
    compare(own, rows, layer.weight, o, straight);
    if (llm) continue;
    Quantized codes;
    Operand a = rows;
    if (layer.activation) {
      const QuantizeSpec& spec = layer.activation->spec;
      codes =
          quantize(rows, {.dtype = spec.dtype, .granularity = spec.granularity, .azp = spec.azp});
      a = codes;
    }
    const ExactGradients exact =
        exact_gradients(scaled_mm_problem(a, layer.weight, o), grad_rows, {.dequantized = true});
    MatmulGradients weights;
    weights.b = d.b;
    compare(weights, a, layer.weight, o, exact);
    EXPECT_EQ(d.b.view().strides[0], 1);
  }
}

TEST(LinearGradients, OfAPackedOperandOfScaledMm) {
  const std::vector<Layer> all = layers();
  const Quantized& weight = all[3].weight;
  const PackedWeight packed = pack(weight);
  const Tensor a = gaussians(float8_e4m3fn, {kM, kK}, 5);
  const Tensor grad = gaussians(bfloat16, {kM, kN}, 6);
  const MatmulWanted wanted{.a = true, .b = true, .scale_b = true};
  const MatmulGradients d = scaled_mm_vjp(grad, a, packed, {}, wanted);
  const MatmulGradients plain = scaled_mm_vjp(grad, a, weight, {}, wanted);
  expect_same_bits(d.a, plain.a);
  expect_same_bits(d.b, plain.b);
  expect_same_bits(d.scale_b, plain.scale_b);
}

using functional::RecipeScale;
using functional::ScalingType;

TEST(FunctionalGradients, FollowTheRecipesAndTheirLayouts) {
  constexpr std::int64_t m = 200, n = 150, k = 260;
  const Tensor a = gaussians(float8_e4m3fn, {m, k}, 1);
  const Tensor b = gaussians(float8_e4m3fn, {n, k}, 2).transposed();
  const Tensor grad = gaussians(bfloat16, {m, n}, 3);
  const Tensor bias = gaussians(float32, {n}, 4);
  const Tensor groups = uniforms(float32, {m, 3}, 5, 0.5, 1.5);
  const Tensor padded = uniforms(float32, {2, 4}, 6, 0.5, 1.5).transposed();  // [4, 2]
  const Tensor tensor = values(float32, {1}, {0.5});
  const std::array<RecipeScale, 1> scale_a{{{groups, ScalingType::BlockWise1x128}}};
  const std::array<RecipeScale, 2> scale_b{
      {{padded, ScalingType::BlockWise128x128}, {tensor, ScalingType::TensorWise}}};
  const MatmulGradients d = functional::scaled_mm_vjp(
      grad, a, b, scale_a, scale_b, {.bias = bias},
      {.a = true, .b = true, .bias = true, .scale_a = true, .scale_b = true});
  // The same product by plain arguments: blocks [K, N], the tensor scale in alpha, which stands in
  // every term as well.
  const TensorView blocks = padded.view().slice(0, 0, 3);
  const ScaledMmOptions o{.scale_a = {groups, group(128)},
                          .scale_b = {blocks, block(128, 128)},
                          .bias = bias,
                          .alpha = tensor};
  const ExactGradients exact = exact_gradients(scaled_mm_problem(a, b, o), grad, {});
  compare({.bias = d.bias}, a, b, o, exact);
  expect_gradient("a", d.a, a, exact.a);
  expect_gradient("scale_a", d.scale_a, groups, exact.scale_a);
  expect_gradient("scale_b", d.scale_b, padded, exact.scale_b);
  EXPECT_EQ(d.scale_b.view().strides, padded.view().strides);
  expect_gradient("b", d.b, b, exact.b);
}

TEST(FunctionalGradients, OfGroups) {
  const Tensor a = gaussians(float8_e4m3fn, {14, 20}, 1);
  const Tensor b = gaussians(float8_e4m3fn, {3, 20, 9}, 2);
  const Tensor offs = values(int32, {3}, {5, 5, 12});
  const Tensor grad = gaussians(bfloat16, {14, 9}, 3);
  const Tensor sa = uniforms(float32, {14}, 4, 0.5, 1.5);
  const Tensor sb = uniforms(float32, {3, 9}, 5, 0.5, 1.5);
  const std::array<RecipeScale, 1> scale_a{{{sa, ScalingType::RowWise}}};
  const std::array<RecipeScale, 1> scale_b{{{sb, ScalingType::RowWise}}};
  const MatmulWanted wanted{.a = true, .b = true, .scale_a = true, .scale_b = true};
  const MatmulGradients d =
      functional::scaled_grouped_mm_vjp(grad, a, b, scale_a, scale_b, {.offs = offs}, wanted);
  const MatmulGradients plain =
      grouped_mm_vjp(grad, a, b, {.offs = offs, .scale_a = sa, .scale_b = sb}, wanted);
  expect_same_bits(d.a, plain.a);
  expect_same_bits(d.b, plain.b);
  expect_same_bits(d.scale_a, plain.scale_a);
  expect_same_bits(d.scale_b, plain.scale_b);
}

// All gradients of a large product, by threads and backends.
MatmulGradients large(const ExecContext& context, const char* backend) {
  constexpr std::int64_t m = 190, n = 260, k = 200;
  static const Tensor a = gaussians(float8_e4m3fn, {m, k}, 1);
  static const Tensor b = gaussians(float8_e4m3fn, {k, n}, 2);
  static const Tensor sa = uniforms(float32, {m, 2}, 3, 0.5, 1.5);
  static const Tensor sb = uniforms(float32, {n}, 4, 0.5, 1.5);
  static const Tensor bias = gaussians(float32, {n}, 5);
  static const Tensor c = gaussians(bfloat16, {m, n}, 6);
  static const Tensor grad = gaussians(float32, {m, n}, 7);
  static const Tensor one = values(float32, {1}, {1.5});
  return scaled_mm_vjp(grad, a, b,
                       {.scale_a = {sa, group(128)},
                        .scale_b = sb,
                        .bias = bias,
                        .scale_result = sb,
                        .out_dtype = float8_e4m3fn,
                        .alpha = one,
                        .beta = one,
                        .c = c,
                        .backend = backend},
                       {true, true, true, true, true, true, true, true, true}, {}, context);
}

void expect_same_gradients(const MatmulGradients& x, const MatmulGradients& y) {
  for (Tensor MatmulGradients::*field :
       {&MatmulGradients::a, &MatmulGradients::b, &MatmulGradients::bias, &MatmulGradients::scale_a,
        &MatmulGradients::scale_b, &MatmulGradients::alpha, &MatmulGradients::beta,
        &MatmulGradients::c, &MatmulGradients::scale_result}) {
    ASSERT_TRUE((x.*field).defined());
    expect_same_bits(x.*field, y.*field);
  }
}

TEST(Gradients, HaveTheSameBitsForAnyNumberOfThreads) {
  const MatmulGradients serial = large({.executor = &serial_executor()}, nullptr);
  for (const int threads : {2, 3, 7}) {
    ThreadExecutor executor(threads);
    expect_same_gradients(large({.executor = &executor}, nullptr), serial);
  }
}

TEST(Gradients, LeaveALentWorkspaceAlone) {
  char byte = 0;
  const Workspace small{&byte, 1};
  expect_same_gradients(large({.workspace = &small}, nullptr), large({}, nullptr));
}

TEST(Gradients, RunOnEveryBackend) {
  constexpr std::int64_t m = 9, n = 21, k = 33;
  const Tensor a = integers(uint8, {m, k}, 1, 0, 255);
  const Tensor b = integers(int8, {k, n}, 2);
  const Tensor azp = integers(int32, {m}, 3, 0, 255);
  const Tensor sa = uniforms(float32, {m, 3}, 4);
  const Tensor sb = uniforms(float32, {n}, 5);
  const Tensor bias = gaussians(float32, {n}, 6);
  const Tensor grad = gaussians(bfloat16, {m, n}, 7);
  const ScaledMmOptions o{.scale_a = {sa, group(16)}, .scale_b = sb, .bias = bias, .azp = azp};
  const ExactGradients exact = exact_gradients(scaled_mm_problem(a, b, o), grad, {});
  for (const char* backend : usable_backends()) {
    SCOPED_TRACE(backend);
    ScaledMmOptions forced = o;
    forced.backend = backend;
    compare(scaled_mm_vjp(grad, a, b, forced, everything(a, b, o)), a, b, o, exact);
  }
}

}  // namespace
}  // namespace octavo::test::linear_test
