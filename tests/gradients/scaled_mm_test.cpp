// SPDX-License-Identifier: Apache-2.0
// The gradients of scaled_mm: every pair of types, every pair of granularities, every argument.
#include "gradients/check.hpp"

namespace octavo::test::scaled_mm_test {
namespace {

// Operands of any type: small integers where codes are integers.
Tensor operand(DType dtype, const Shape& shape, unsigned seed) {
  if (dtype == int8) return integers(int8, shape, seed);
  if (dtype == uint8) return integers(uint8, shape, seed, 0, 255);
  return gaussians(dtype, shape, seed, 2.0);
}

struct Pair {
  DType a, b;
};
const Pair kPairs[] = {
    {int8, int8},
    {uint8, int8},
    {float8_e4m3fn, float8_e4m3fn},
    {float8_e5m2, float8_e4m3fnuz},
    {float8_e5m2fnuz, float8_e5m2},
    {bfloat16, bfloat16},
    {float16, float16},
    {float32, float32},
    {bfloat16, int8},
    {float16, float8_e4m3fn},
    {float32, int8},
};

TEST(ScaledMmGradients, AreThoseOfTheFormulaForEveryPairOfTypes) {
  const Tensor sa = uniforms(float32, {9, 1}, 3, 0.5, 1.5);
  const Tensor sb = uniforms(float32, {14}, 4, 0.5, 1.5);
  const Tensor bias = gaussians(bfloat16, {14}, 5);
  for (const Pair& pair : kPairs) {
    for (const DType g : {bfloat16, float16, float32}) {
      const std::string what = std::string(name(pair.a)) + ":" + std::string(name(pair.b)) +
                               " grad " + std::string(name(g));
      check_scaled_mm(what, gaussians(g, {9, 14}, 6), operand(pair.a, {9, 21}, 1),
                      operand(pair.b, {21, 14}, 2), {.scale_a = sa, .scale_b = sb, .bias = bias});
      if (HasFatalFailure()) return;
    }
  }
}

struct Given {
  std::string name;
  Scale scale;
};

// Every granularity of an operand of that shape.
std::vector<Given> granularities(Side side, std::int64_t rows, std::int64_t columns,
                                 std::vector<Tensor>& kept) {
  const bool a = side == Side::a;
  std::vector<Given> all{{"none", Scale()}, {"number", Scale(0.75)}};
  const auto add = [&](const char* what, const Shape& shape, const Granularity& granularity,
                       DType dtype = float32) {
    kept.push_back(uniforms(dtype, shape, static_cast<unsigned>(20 + kept.size()), 0.5, 1.5));
    all.push_back({what, Scale(kept.back(), granularity)});
  };
  const auto up = [](std::int64_t x, std::int64_t y) { return (x + y - 1) / y; };
  const auto group_shape = [&](std::int64_t g) {
    return a ? Shape{rows, up(columns, g)} : Shape{up(rows, g), columns};
  };
  add("tensor", {1}, per_tensor());
  a ? add("token", {rows}, per_token()) : add("channel", {columns, 1}, per_channel());
  add("group16", group_shape(16), group(16));
  add("group5", group_shape(5), group(5));
  add("mx", group_shape(32), group(32), float8_e8m0fnu);
  add("block8x16", {up(rows, 8), up(columns, 16)}, block(8, 16));
  add("block16x3", {up(rows, 16), up(columns, 3)}, block(16, 3), bfloat16);
  add("per_k", {a ? columns : rows}, per_k());
  add("element", {rows, columns}, per_element());
  return all;
}

TEST(ScaledMmGradients, AreThoseOfTheFormulaForEveryPairOfGranularities) {
  constexpr std::int64_t m = 18, n = 19, k = 41;
  const Tensor a = operand(float8_e4m3fn, {m, k}, 1);
  const Tensor b = operand(float8_e4m3fn, {n, k}, 2).transposed();
  const Tensor grad = gaussians(bfloat16, {m, n}, 3);
  std::vector<Tensor> kept;
  for (const Given& sa : granularities(Side::a, m, k, kept)) {
    for (const Given& sb : granularities(Side::b, k, n, kept)) {
      check_scaled_mm("scale_a " + sa.name + " scale_b " + sb.name, grad, a, b,
                      {.scale_a = sa.scale, .scale_b = sb.scale});
      if (HasFatalFailure()) return;
    }
  }
}

TEST(ScaledMmGradients, HoldAtSizesOfSeveralTiles) {
  constexpr std::int64_t m = 140, n = 150, k = 130;
  const Tensor grad = gaussians(bfloat16, {m, n}, 3);
  const Tensor sa = uniforms(float32, {m, 1}, 4, 0.5, 1.5);
  const Tensor sb = uniforms(float32, {n}, 5, 0.5, 1.5);
  const Tensor sr = uniforms(float32, {n}, 6, 0.5, 1.5);
  const Tensor bias = gaussians(float32, {n}, 7);
  for (const Pair& pair : {kPairs[0], kPairs[2], kPairs[5], kPairs[7]}) {
    check_scaled_mm(std::string(name(pair.a)), grad, operand(pair.a, {m, k}, 1),
                    operand(pair.b, {n, k}, 2).transposed(),
                    {.scale_a = sa, .scale_b = sb, .bias = bias, .scale_result = sr});
  }
  // Blocks as DeepSeek's weights have them.
  const Tensor blocks = uniforms(float32, {2, 2}, 8, 0.5, 1.5);
  const Tensor groups = uniforms(float32, {m, 2}, 9, 0.5, 1.5);
  check_scaled_mm("blocks", grad, operand(float8_e4m3fn, {m, k}, 1),
                  operand(float8_e4m3fn, {n, k}, 2).transposed(),
                  {.scale_a = {groups, group(128)}, .scale_b = {blocks, block(128, 128)}});
}

// Groups of less than 8 along the sum are multiplied into the operand, and that rounds it; a sum of
// one term hides nothing.
TEST(ScaledMmGradients, RoundAtMostOneOfTheTwoFactors) {
  constexpr std::int64_t m = 18, n = 1, k = 41;
  const Tensor blocks = uniforms(float32, {9, 1}, 4, 0.5, 1.5);
  const Tensor sr = uniforms(float32, {n}, 5, 0.5, 1.5);
  for (const DType g : {bfloat16, float16, float32}) {
    for (const Scale& result : {Scale(), Scale(sr)}) {
      check_scaled_mm(std::string(name(g)), gaussians(g, {m, n}, 3),
                      operand(float8_e4m3fn, {m, k}, 1), operand(float8_e4m3fn, {k, n}, 2),
                      {.scale_b = {blocks, block(5, 3)}, .scale_result = result});
    }
  }
}

TEST(ScaledMmGradients, SubtractZeroPoints) {
  constexpr std::int64_t m = 12, n = 10, k = 33;
  const Tensor b = operand(int8, {k, n}, 2);
  const Tensor grad = gaussians(bfloat16, {m, n}, 3);
  const Tensor sa = uniforms(float32, {m, 1}, 4);
  const Tensor groups = uniforms(float32, {m, 3}, 5);
  const struct {
    const char* name;
    DType a;
    Tensor azp;
  } cases[] = {
      {"uint8 tensor", uint8, integers(int32, {1}, 6, 7, 200)},
      {"uint8 token", uint8, integers(uint8, {m, 1}, 7, 0, 255)},
      {"int8 token", int8, integers(int32, {m}, 8, -128, 128)},
      {"just exact in bfloat16", int8, values(int32, {1}, {128})},
      {"no longer exact in bfloat16", int8, values(int32, {1}, {129})},
      {"uint8, no longer exact", uint8, values(int32, {1}, {-2})},
      {"wild", int8, integers(int32, {m}, 9, -1000000000, 1000000000)},
  };
  for (const auto& c : cases) {
    const Tensor a = operand(c.a, {m, k}, 1);
    check_scaled_mm(c.name, grad, a, b, {.scale_a = sa, .azp = c.azp});
    check_scaled_mm(c.name + std::string(" groups"), grad, a, b,
                    {.scale_a = {groups, group(16)}, .azp = c.azp});
    // Nothing is multiplied into a bfloat16 grad: nothing is rounded on the way.
    const ScaledMmOptions plain{.scale_a = 0.5, .azp = c.azp};
    compare(scaled_mm_vjp(grad, a, b, plain, {.a = true, .b = true}, {.dtype = float32}), a, b,
            plain, exact_gradients(scaled_mm_problem(a, b, plain), grad, {.float32 = true}));
    // A column-major A.
    check_scaled_mm(c.name + std::string(" columns"), grad, operand(c.a, {k, m}, 1).transposed(), b,
                    {.scale_a = sa, .azp = c.azp});
    if (HasFatalFailure()) return;
  }
}

TEST(ScaledMmGradients, SubtractZeroPointsOfTheWeight) {
  constexpr std::int64_t m = 12, n = 10, k = 33;
  const Tensor grad = gaussians(bfloat16, {m, n}, 3);
  const Tensor sa = uniforms(float32, {m, 1}, 4);
  const Tensor sb = uniforms(float32, {1, n}, 5);
  for (const DType b_type : {int8, uint8}) {
    for (const DType a_type : {int8, uint8, bfloat16, float32}) {
      const Tensor azp =
          integers(int32, {1, n}, 6, b_type == int8 ? -128 : 0, b_type == int8 ? 127 : 255);
      const Tensor one = integers(int32, {1}, 7, 3, 100);
      for (const TensorView& zero_points : {azp.view(), one.view()}) {
        Operand b(operand(b_type, {k, n}, 2));
        const Tensor codes = operand(b_type, {k, n}, 2);
        b.data = codes;
        b.azp = zero_points;
        check_scaled_mm("zero points of b", grad, operand(a_type, {m, k}, 1), b,
                        {.scale_a = {sa, per_token()}, .scale_b = {sb, per_channel()}});
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(ScaledMmGradients, ReachEveryArgumentOfTheEpilogue) {
  constexpr std::int64_t m = 7, n = 11, k = 20;
  const Tensor a = operand(float8_e4m3fn, {m, k}, 1);
  const Tensor b = operand(float8_e4m3fn, {k, n}, 2);
  const Tensor c = gaussians(bfloat16, {m, n}, 3);
  const Tensor alpha = values(float32, {1}, {0.75});
  const Tensor beta = values(float32, {1, 1}, {-1.5});
  const Tensor vector = uniforms(float32, {1, n}, 4, 0.5, 1.5);
  const Tensor one = values(float16, {1}, {1.25});
  const Tensor bias = gaussians(float32, {1, n}, 5);
  const Tensor short_bias = values(bfloat16, {1}, {0.5});
  for (const DType g : {bfloat16, float32}) {
    const Tensor grad = gaussians(g, {m, n}, 6);
    const auto check = [&](const char* what, const ScaledMmOptions& o) {
      check_scaled_mm(what, grad, a, b, o);
    };
    check("tensors", {.bias = bias, .scale_result = vector, .alpha = alpha, .beta = beta, .c = c});
    check("numbers", {.bias = short_bias, .scale_result = 0.5, .alpha = 2.0, .beta = 0.5, .c = c});
    check("one element", {.bias = short_bias, .scale_result = one, .c = c});
    // beta = 0: C is not read, but the loss has a slope along beta.
    const MatmulGradients d =
        scaled_mm_vjp(grad, a, b, {.beta = 0.0, .c = c}, {.beta = true, .c = true});
    const MatmulGradients one_c = scaled_mm_vjp(grad, a, b, {.beta = 1.0, .c = c}, {.beta = true});
    expect_same_bits(d.beta, one_c.beta);
    for (std::int64_t i = 0; i < m * n; ++i) EXPECT_EQ(at(d.c, i), 0.0);
  }
}

TEST(ScaledMmGradients, AreZeroWhereAQuantizedResultSaturated) {
  constexpr std::int64_t m = 16, n = 15, k = 24;
  const Tensor a = operand(int8, {m, k}, 1);
  const Tensor b = operand(int8, {k, n}, 2);
  const Tensor grad = gaussians(float32, {m, n}, 3);
  const Tensor sr = uniforms(float32, {n}, 5, 0.5, 1.5);
  const Tensor bias = gaussians(float32, {n}, 6, 20.0);
  for (const DType out : {int8, uint8, float8_e4m3fn, float8_e5m2}) {
    SCOPED_TRACE(name(out));
    const double size = is_float8(out) ? 0.02 : 0.002;
    const Tensor sa = uniforms(float32, {m, 1}, 4, size, 2.0 * size);
    const ScaledMmOptions o{
        .scale_a = sa, .bias = bias, .scale_result = sr, .out_dtype = out, .alpha = 1.0};
    check_scaled_mm("saturating", grad, a, b, o);
    const MatmulGradients d = scaled_mm_vjp(grad, a, b, o, {.bias = true});
    const MatmulGradients whole = scaled_mm_vjp(
        grad, a, b, {.scale_a = sa, .bias = bias, .scale_result = sr}, {.bias = true});
    EXPECT_EQ(bytes_of(d.bias) == bytes_of(whole.bias), out == float8_e5m2);
  }
  // The exact int32 sum: 2^31 and more saturate.
  constexpr std::int64_t deep = 140000;
  const Tensor large = integers(uint8, {2, deep}, 1, 255, 255);
  const Tensor ones = tensor_of(int8, {deep, 2}, [](std::int64_t i) { return i % 2 ? 1 : 127; });
  const Tensor g = values(float32, {2, 2}, {1, 2, 3, 4});
  const MatmulGradients d = scaled_mm_vjp(g, large, ones, {.out_dtype = int32}, {.b = true});
  EXPECT_EQ(at(d.b, 0, 0), 0.0);
  EXPECT_EQ(at(d.b, 0, 1), 255.0 * 6.0);
}

TEST(ScaledMmGradients, OfEmptyProducts) {
  const Tensor sa = uniforms(float32, {1}, 4);
  for (const auto& [m, n, k] : {std::tuple{0, 3, 4}, std::tuple{3, 0, 4}, std::tuple{3, 4, 0}}) {
    const Tensor bias = gaussians(float32, {n}, 5);
    check_scaled_mm("empty", gaussians(bfloat16, {m, n}, 1), operand(float8_e4m3fn, {m, k}, 2),
                    operand(float8_e4m3fn, {k, n}, 3), {.scale_a = sa, .bias = bias});
  }
  // PyTorch's K = 0 gives zeros whatever the bias is.
  const Tensor bias = gaussians(float32, {4}, 5);
  const MatmulGradients d = scaled_mm_vjp(
      gaussians(float32, {3, 4}, 1), operand(float32, {3, 0}, 2), operand(float32, {0, 4}, 3),
      {.bias = bias, .matmul = {.torch_compat = true}}, {.bias = true});
  for (std::int64_t j = 0; j < 4; ++j) EXPECT_EQ(at(d.bias, j), 0.0);
}

TEST(ScaledMmGradients, LieAsTheirArgumentsDo) {
  constexpr std::int64_t m = 70, n = 9, k = 66;
  const Tensor grad = gaussians(bfloat16, {m, n}, 1);
  const Tensor rows_a = operand(float8_e4m3fn, {m, k}, 2);
  const Tensor columns_a = operand(float8_e4m3fn, {k, m}, 2).transposed();
  const Tensor rows_b = operand(float8_e4m3fn, {k, n}, 3);
  const Tensor columns_b = operand(float8_e4m3fn, {n, k}, 3).transposed();
  const Tensor sa = uniforms(float32, {m, 1}, 4, 0.5, 1.5);
  for (const Tensor& a : {rows_a, columns_a}) {
    for (const Tensor& b : {rows_b, columns_b}) {
      check_scaled_mm("layouts", grad, a, b, {.scale_a = sa});
      const MatmulGradients d = scaled_mm_vjp(grad, a, b, {.scale_a = sa}, {.a = true, .b = true});
      EXPECT_EQ(d.a.view().strides, a.view().strides);
      EXPECT_EQ(d.b.view().strides, b.view().strides);
    }
  }
  const Strided apart = strided(rows_a, {2 * k + 3, 2});
  const Strided backwards = strided(rows_b, {-n, -1});
  const Strided far = strided(grad, {-3 * n, 3});
  check_scaled_mm("strided", far.view, apart.view, backwards.view, {.scale_a = sa});
  check_scaled_mm("grad by columns", gaussians(bfloat16, {n, m}, 1).transposed(), rows_a, rows_b,
                  {.scale_a = sa});
  const ScaledMmOptions both{.scale_a = sa, .trans_a = true, .trans_b = true};
  check_scaled_mm("given transposed", grad, columns_a.transposed(), columns_b.transposed(), both);
}

TEST(ScaledMmGradients, OfScalesThatOperandsCarry) {
  const Tensor x = gaussians(float32, {18, 40}, 1, 3.0);
  const Tensor w = gaussians(float32, {40, 7}, 2, 3.0);
  const Tensor grad = gaussians(bfloat16, {18, 7}, 3);
  for (const Granularity& g : {per_token(), group(16), block(8, 16), per_tensor()}) {
    const Quantized a = quantize(x, {.dtype = float8_e4m3fn, .granularity = g});
    const Quantized b =
        quantize(w, {.dtype = float8_e4m3fn, .granularity = group(16), .side = Side::b});
    check_scaled_mm(to_string(g), grad, a, b, {});
  }
  const Quantized a = quantize(x, {.dtype = uint8, .granularity = per_token(), .azp = true});
  const Quantized b = quantize(w, {.granularity = per_channel(), .side = Side::b});
  check_scaled_mm("zero points", grad, a, b, {});
  const Quantized turned =
      quantize(w.transposed(), {.dtype = float8_e4m3fn, .granularity = group(8)});
  const Quantized fp8 = quantize(x, {.dtype = float8_e4m3fn});
  check_scaled_mm("of a transposed weight", grad, fp8, Operand(turned).transposed(), {});
}

TEST(ScaledMmGradients, AreTheSlopesOfTheLoss) {
  constexpr std::int64_t m = 5, n = 6, k = 9;
  const Tensor a = gaussians(float32, {m, k}, 1);
  const Tensor b = gaussians(float32, {k, n}, 2);
  const Tensor c = gaussians(float32, {m, n}, 3);
  const Tensor sa = uniforms(float32, {m, 3}, 4, 0.5, 1.5);
  const Tensor sb = uniforms(float32, {3, 2}, 5, 0.5, 1.5);
  const Tensor bias = gaussians(float32, {n}, 6);
  const Tensor sr = uniforms(float32, {n}, 7, 0.5, 1.5);
  const Tensor alpha = values(float32, {1}, {0.75});
  const Tensor beta = values(float32, {1}, {-1.5});
  const Tensor grad = gaussians(float32, {m, n}, 8);
  const MatmulProblem problem = scaled_mm_problem(a, b,
                                                  {.scale_a = {sa, group(3)},
                                                   .scale_b = {sb, block(4, 3)},
                                                   .bias = bias,
                                                   .scale_result = sr,
                                                   .alpha = alpha,
                                                   .beta = beta,
                                                   .c = c});
  const ExactGradients exact = exact_gradients(problem, grad, {});
  for (const Terms* terms : {&exact.a, &exact.b, &exact.bias, &exact.scale_a, &exact.scale_b,
                             &exact.alpha, &exact.beta, &exact.c, &exact.scale_result}) {
    ASSERT_FALSE(terms->empty());
    for (const auto& [element, term] : *terms) {
      // The loss is linear in each element: a difference of any width is exact but for rounding.
      const double up = exact_loss(problem, grad, element, 1.0);
      const double down = exact_loss(problem, grad, element, -1.0);
      const double slack = 0x1p-44 * (std::abs(up) + std::abs(down) + term.magnitude + 100.0);
      EXPECT_NEAR((up - down) / 2.0, term.value, slack);
    }
  }
}

}  // namespace
}  // namespace octavo::test::scaled_mm_test
