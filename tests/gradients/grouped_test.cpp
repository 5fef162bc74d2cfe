// SPDX-License-Identifier: Apache-2.0
// The gradients of grouped products: four tensor forms, lists, batches.
#include "gradients/check.hpp"

namespace octavo::test::grouped_test {
namespace {

Tensor operand(DType dtype, const Shape& shape, unsigned seed) {
  return dtype == int8 ? integers(int8, shape, seed) : gaussians(dtype, shape, seed, 2.0);
}

// Three groups, the second empty, and what no group covers.
constexpr std::int64_t kGroups = 3;
struct Form {
  const char* name;
  Shape a, b, out;
  bool offs;
};
const Form kForms[] = {
    {"rows", {14, 20}, {3, 20, 9}, {14, 9}, true},
    {"columns", {3, 6, 20}, {20, 14}, {6, 14}, true},
    {"inner", {6, 14}, {14, 9}, {3, 6, 9}, true},
    {"batch", {3, 6, 20}, {3, 20, 9}, {3, 6, 9}, false},
};
const std::vector<double> kEnds{5, 5, 12};

TEST(GroupedGradients, AreThoseOfTheFormulaInEveryForm) {
  for (const Form& form : kForms) {
    for (const DType type : {float8_e4m3fn, int8, bfloat16, float32}) {
      for (const bool prefix : {false, true}) {
        if (prefix && !form.offs) continue;
        const std::string what = std::string(form.name) + " " + std::string(name(type));
        const Tensor a = operand(type, form.a, 1);
        const Tensor b = operand(type, form.b, 2);
        const Tensor grad = gaussians(bfloat16, form.out, 3);
        const std::int64_t n = form.out.back();
        const std::int64_t m = form.out[form.out.size() - 2];
        const Tensor ends = prefix ? values(int64, {4}, {0, 5, 5, 12}) : values(int32, {3}, kEnds);
        const TensorView offs = form.offs ? ends.view() : TensorView();
        const Tensor bias = gaussians(float32, {n}, 4);
        const Tensor sr = uniforms(float32, {n}, 5, 0.5, 1.5);
        const Tensor c = gaussians(bfloat16, form.out, 6);
        const Tensor alpha = values(float32, {1}, {0.75});
        const bool inner = form.name == std::string("inner");
        // PyTorch's shapes of row-wise scales.
        const Shape shape_a = inner                ? Shape{kGroups * m}
                              : form.a.size() == 3 ? Shape{kGroups, m}
                                                   : Shape{m};
        const Shape shape_b = inner                ? Shape{kGroups * n}
                              : form.b.size() == 3 ? Shape{kGroups, n}
                                                   : Shape{n};
        const Tensor sa = uniforms(float32, shape_a, 7, 0.5, 1.5);
        const Tensor sb = uniforms(float32, shape_b, 8, 0.5, 1.5);
        check_grouped_mm(what, grad, a, b,
                         {.offs = offs,
                          .offs_prefix = prefix,
                          .bias = bias,
                          .scale_a = sa,
                          .scale_b = sb,
                          .alpha = alpha,
                          .beta = 0.5,
                          .c = c,
                          .scale_result = sr});
        if (HasFatalFailure()) return;
        const Tensor each = uniforms(float32, {kGroups}, 9, 0.5, 1.5);
        check_grouped_mm(what + " one scale a group", grad, a, b,
                         {.offs = offs,
                          .offs_prefix = prefix,
                          .scale_a = {each, per_tensor()},
                          .scale_b = 0.5,
                          .alpha = 2.0,
                          .beta = alpha,
                          .c = c});
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(GroupedGradients, OfGroupScalesThatMembersShare) {
  const Tensor ends = values(int32, {3}, kEnds);
  const Tensor grad = gaussians(bfloat16, {3, 6, 9}, 3);
  // Groups of 4 along K: the cut at 5 is inside one.
  const Tensor sa = uniforms(float32, {6, 4}, 1, 0.5, 1.5);
  const Tensor sb = uniforms(float32, {4, 9}, 2, 0.5, 1.5);
  check_grouped_mm("inner", grad, operand(float8_e4m3fn, {6, 14}, 4),
                   operand(float8_e4m3fn, {14, 9}, 5),
                   {.offs = ends, .scale_a = {sa, group(4)}, .scale_b = {sb, group(4)}});
  const Tensor rows = uniforms(float32, {2, 3}, 6, 0.5, 1.5);
  const Tensor blocks = uniforms(float32, {3, 3, 2}, 7, 0.5, 1.5);
  check_grouped_mm(
      "rows", gaussians(bfloat16, {14, 9}, 8), operand(float8_e4m3fn, {14, 20}, 4),
      operand(float8_e4m3fn, {3, 20, 9}, 5),
      {.offs = ends, .scale_a = {rows, block(8, 8)}, .scale_b = {blocks, block(8, 8)}});
  const Tensor bias = gaussians(bfloat16, {3, 9}, 9);
  check_grouped_mm("bias of each group", gaussians(float32, {14, 9}, 8),
                   operand(bfloat16, {14, 20}, 4), operand(bfloat16, {3, 20, 9}, 5),
                   {.offs = ends, .bias = bias});
}

TEST(GroupedGradients, OfQuantizedResultsAndZeroPoints) {
  const Tensor ends = values(int32, {3}, kEnds);
  const Tensor x = gaussians(float32, {14, 20}, 1, 3.0);
  const Quantized a = quantize(x, {.dtype = uint8, .granularity = per_token(), .azp = true});
  const Tensor b = operand(int8, {3, 20, 9}, 2);
  check_grouped_mm("rows", gaussians(bfloat16, {14, 9}, 3), a, b,
                   {.offs = ends, .out_dtype = int8, .scale_b = 0.5});
}

TEST(GroupedGradients, WithoutGroups) {
  const Tensor offs = Tensor::empty(int32, {0});
  const MatmulGradients d =
      grouped_mm_vjp(gaussians(float32, {4, 6}, 1), operand(float32, {4, 5}, 2),
                     Tensor::empty(float32, {0, 5, 6}), {.offs = offs}, {.a = true, .b = true});
  for (std::int64_t i = 0; i < 20; ++i) EXPECT_EQ(at(d.a, i), 0.0);
  EXPECT_EQ(d.b.numel(), 0);
}

TEST(GroupedGradients, OfLists) {
  const std::vector<Tensor> kept{operand(float8_e4m3fn, {5, 20}, 1),
                                 operand(float32, {20}, 2),
                                 operand(bfloat16, {2, 3, 7}, 3),
                                 operand(float8_e4m3fn, {20, 9}, 4),
                                 operand(float32, {20, 4}, 5),
                                 operand(int8, {7, 6}, 6),
                                 gaussians(bfloat16, {5, 9}, 7),
                                 gaussians(float32, {4}, 8),
                                 gaussians(float32, {2, 3, 6}, 9),
                                 gaussians(float32, {9}, 10),
                                 uniforms(float32, {5, 1}, 11, 0.5, 1.5),
                                 uniforms(float32, {6}, 12, 0.5, 1.5)};
  const std::vector<Operand> inputs{kept[0], kept[1], kept[2]};
  const std::vector<Operand> weights{kept[3], kept[4], kept[5]};
  const std::vector<TensorView> grads{kept[6], kept[7], kept[8]};
  const std::vector<TensorView> biases{kept[9], {}, {}};
  const std::vector<Scale> scales_a{{kept[10], per_token()}, {}, {}};
  const std::vector<Scale> scales_b{{}, 0.5, kept[11]};
  const GroupedListOptions options{.biases = biases, .scales_a = scales_a, .scales_b = scales_b};
  const std::vector<MatmulGradients> d =
      grouped_mm_vjp(grads, inputs, weights, options,
                     {.a = true, .b = true, .bias = true, .scale_a = true, .scale_b = true});
  ASSERT_EQ(d.size(), 3U);
  EXPECT_FALSE(d[1].bias.defined());
  EXPECT_FALSE(d[1].scale_a.defined());
  EXPECT_TRUE(d[1].scale_b.defined());
  for (std::size_t i = 0; i < 3; ++i) {
    SCOPED_TRACE(i);
    const auto matrix = [](TensorView v) {
      v.shape = {v.numel() / v.shape[static_cast<std::size_t>(v.rank - 1)],
                 v.shape[static_cast<std::size_t>(v.rank - 1)]};
      v.rank = 2;
      v.strides = {v.shape[1], 1};
      return v;
    };
    const Operand a = matrix(inputs[i].data);
    const ScaledMmOptions o{.scale_a = scales_a[i], .scale_b = scales_b[i], .bias = biases[i]};
    const ExactGradients exact =
        exact_gradients(scaled_mm_problem(a, weights[i], o), matrix(grads[i]), {});
    EXPECT_EQ(shape_string(d[i].a), shape_string(inputs[i].data));
    MatmulGradients flat = d[i];
    flat.a = Tensor::adopt(nullptr, matrix(d[i].a));
    compare(flat, a, weights[i], o, exact);
  }
  EXPECT_TRUE(grouped_mm_vjp({}, {}, {}, GroupedListOptions{}, {.a = true}).empty());
}

TEST(GroupedGradients, OfBatchesWithOneScale) {
  const Tensor q = gaussians(float32, {2, 5, 8}, 1);
  const Tensor keys = gaussians(float32, {2, 6, 8}, 2);
  const Tensor grad = gaussians(float32, {2, 5, 6}, 3);
  const Tensor scale = values(float32, {1}, {0.35});
  const Operand b = Operand(keys).transposed();
  for (const bool trans_b : {false, true}) {
    const Tensor weight = trans_b ? keys : copy(keys.transposed(), float32);
    const Operand plain = trans_b ? b : Operand(weight);
    const GroupedOptions o{.alpha = scale};
    const ExactGradients exact = exact_gradients(grouped_mm_problem(q, plain, o), grad, {});
    const MatmulGradients d =
        scaled_grouped_mm_vjp(grad, q, weight, {.scale = scale, .trans_b = trans_b},
                              {.a = true, .b = true, .alpha = true});
    EXPECT_EQ(shape_string(d.b), shape_string(weight.view()));
    compare(d, q, Operand(weight), o, exact);
    // A scale of 1 is a factor too.
    const MatmulGradients one =
        scaled_grouped_mm_vjp(grad, q, weight, {.scale = 1, .trans_b = trans_b}, {.alpha = true});
    EXPECT_EQ(one.alpha.rank(), 0);
    EXPECT_EQ(at(one.alpha, 0), at(d.alpha, 0));
  }
}

}  // namespace
}  // namespace octavo::test::grouped_test
