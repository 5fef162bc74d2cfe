// SPDX-License-Identifier: Apache-2.0
// LLM.int8's gradient of the weight: the bits of section 8's formula, and how far it is from the
// exact one.
#include <array>
#include <cmath>

#include "gradients/check.hpp"

namespace octavo::test::llm_int8_test {
namespace {

ActivationQuant llm_int8(float threshold) {
  ActivationQuant rule;
  rule.vectorwise = true;
  rule.outlier_threshold = threshold;
  return rule;
}

// Codes of a Gaussian weight [N, K], as linear reads them.
struct Weight {
  VectorwiseQuant q;
  Tensor scale;
  Operand operand;

  Weight(std::int64_t n, std::int64_t k)
      : q(int8_vectorwise_quant(gaussians(float32, {n, k}, 3))),
        scale(tensor_of(float32, {1, n},
                        [&](std::int64_t i) { return q.row_absmax.data_as<float>()[i] / 127.0F; })),
        operand(q.codes.transposed()) {
    operand.scale[0] = {ScaleKind::tensor, 1.0F, scale, kWholeExtent, 1, 0, 0};
  }
};

// Columns of x where some rows are outliers.
Tensor with_outliers(const Tensor& x, const std::vector<std::int64_t>& columns, double every) {
  const std::int64_t k = x.view().shape[1];
  return tensor_of(x.dtype(), {x.view().shape[0], k}, [&](std::int64_t i) {
    const bool hit = std::find(columns.begin(), columns.end(), i % k) != columns.end();
    const double v = at(x, i);
    return hit && std::fmod(static_cast<double>(i / k), every) == 0.0 ? v * 8.0 + 6.0 : v;
  });
}

struct Case {
  const char* name;
  std::int64_t m, n, k;
  DType grad, x;
  float threshold;
};

TEST(LlmInt8WeightGradient, IsSection8sFormulaToTheBit) {
  const Case cases[] = {{"bfloat16", 37, 20, 45, bfloat16, bfloat16, 6.0F},
                        {"mixed", 37, 20, 45, float32, bfloat16, 6.0F},
                        {"float16", 64, 33, 128, float16, float16, 6.0F},
                        {"none", 16, 8, 64, float32, float32, 0.0F},
                        {"one row", 1, 9, 33, bfloat16, bfloat16, 6.0F},
                        {"all outliers", 5, 7, 11, bfloat16, bfloat16, 1e-6F}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const Tensor x = with_outliers(gaussians(c.x, {c.m, c.k}, 1), {3, 4, c.k - 1}, 2.0);
    const Tensor g = gaussians(c.grad, {c.m, c.n}, 2, 0.01);
    const Weight weight(c.n, c.k);
    const DoubleQuant xq = int8_double_quant(x, {.threshold = c.threshold});
    const DoubleQuant gq = int8_double_quant(g);
    const std::vector<bool> outlier = [&] {
      std::vector<bool> flags(static_cast<std::size_t>(c.k));
      for (std::int64_t i = 0; xq.outlier_cols.defined() && i < xq.outlier_cols.numel(); ++i) {
        flags[static_cast<std::size_t>(xq.outlier_cols.data_as<std::int64_t>()[i])] = true;
      }
      return flags;
    }();
    for (const char* backend : usable_backends()) {
      const LinearOptions forward{.backend = *backend == '\0' ? nullptr : backend};
      const MatmulGradients d = linear_vjp(g, x, weight.operand, llm_int8(c.threshold), forward,
                                           {.b = true}, {.dtype = float32});
      EXPECT_EQ(d.b.view().strides[0], 1);  // rows of W [N, K]
      for (std::int64_t n = 0; n < c.n; ++n) {
        for (std::int64_t k = 0; k < c.k; ++k) {
          if (outlier[static_cast<std::size_t>(k)]) {
            Sum exact;
            for (std::int64_t m = 0; m < c.m; ++m) exact.add(at(g, m, n) * at(x, m, k));
            expect_near(d.b, k, n, exact, c.m);
            continue;
          }
          std::int64_t acc = 0;
          for (std::int64_t m = 0; m < c.m; ++m) {
            acc += static_cast<std::int64_t>(at(gq.col_codes, m, n)) *
                   static_cast<std::int64_t>(at(xq.col_codes, m, k));
          }
          float t = static_cast<float>(acc);
          t *= gq.col_absmax.data_as<float>()[n] / 127.0F;
          t *= xq.col_absmax.data_as<float>()[k] / 127.0F;
          ASSERT_EQ(float_at(d.b, k, n), t) << n << ", " << k << " on " << backend;
        }
      }
    }
  }
}

double relative_error(const TensorView& got, const TensorView& g, const TensorView& x) {
  double wrong = 0.0;
  double all = 0.0;
  for (std::int64_t k = 0; k < x.shape[1]; ++k) {
    for (std::int64_t n = 0; n < g.shape[1]; ++n) {
      double exact = 0.0;
      for (std::int64_t m = 0; m < x.shape[0]; ++m) exact += at(g, m, n) * at(x, m, k);
      wrong += (at(got, k, n) - exact) * (at(got, k, n) - exact);
      all += exact * exact;
    }
  }
  return std::sqrt(wrong / all);
}

// The figures of bitsandbytes (0.22, 2.7 and 0.35 for these) are in docs/known-wrong.md.
TEST(LlmInt8WeightGradient, IsCloseToTheExactOne) {
  constexpr std::int64_t m = 512, n = 96, k = 128;
  const Weight weight(n, k);
  const Tensor gaussian = gaussians(float32, {m, k}, 1);
  const Tensor grad = gaussians(float32, {m, n}, 2);
  const Tensor sizes = gaussians(float32, {m}, 4);
  const Tensor lognormal = tensor_of(
      float32, {m, n}, [&](std::int64_t i) { return at(grad, i) * std::exp(at(sizes, i / n)); });
  const Tensor outliers = with_outliers(gaussian, {7, 30, 31, 100}, 10.0);
  const auto error = [&](const Tensor& g, const Tensor& x) {
    const MatmulGradients d = linear_vjp(g, x, weight.operand, llm_int8(6.0F), {}, {.b = true});
    return relative_error(d.b, g, x);
  };
  EXPECT_LE(error(grad, gaussian), 0.015);
  EXPECT_LE(error(lognormal, gaussian), 0.03);
  EXPECT_LE(error(grad, outliers), 0.015);
}

TEST(LlmInt8WeightGradient, OfAnyRankAndOfNoRows) {
  const Weight weight(10, 24);
  const Tensor x = gaussians(bfloat16, {2, 3, 24}, 1);
  const Tensor g = gaussians(bfloat16, {2, 3, 10}, 2);
  const ActivationQuant rule = llm_int8(2.0F);
  const MatmulWanted all{.a = true, .b = true, .bias = true};
  const Tensor bias = gaussians(bfloat16, {10}, 4);
  const MatmulGradients d = linear_vjp(g, x, weight.operand, rule, {.bias = bias}, all);
  const auto rows = [](const Tensor& t) {
    TensorView v = t;
    v.rank = 2;
    v.shape = {6, t.view().shape[2]};
    v.strides = {t.view().shape[2], 1};
    return v;
  };
  const MatmulGradients flat =
      linear_vjp(rows(g), rows(x), weight.operand, rule, {.bias = bias}, all);
  expect_same_bits(rows(d.a), flat.a);
  expect_same_bits(d.b, flat.b);
  expect_same_bits(d.bias, flat.bias);
  // A packed weight has the same gradients.
  const PackedWeight packed = pack(weight.operand, {.activation = rule});
  const MatmulGradients same = linear_vjp(g, x, packed, {.bias = bias}, all);
  expect_same_bits(d.a, same.a);
  expect_same_bits(d.b, same.b);

  const MatmulGradients none =
      linear_vjp(Tensor::empty(bfloat16, {0, 10}), Tensor::empty(bfloat16, {0, 24}), weight.operand,
                 rule, {}, {.a = true, .b = true});
  EXPECT_EQ(shape_string(none.a), "[0, 24]");
  for (std::int64_t i = 0; i < none.b.numel(); ++i) EXPECT_EQ(at(none.b, i / 10, i % 10), 0.0);
}

TEST(LlmInt8WeightGradient, FollowsTheColumnsOfTheCall) {
  const Weight weight(6, 20);
  const Tensor x = gaussians(float32, {9, 20}, 1);
  const Tensor g = gaussians(float32, {9, 6}, 2);
  const Tensor columns = values(int64, {2}, {4, 17});
  const auto gradient = [&](const ActivationQuant& rule, const LinearOptions& forward) {
    return linear_vjp(g, x, weight.operand, rule, forward, {.b = true}).b;
  };
  ActivationQuant fixed = llm_int8(0.0F);
  fixed.outlier_columns = columns;
  const Tensor d = gradient(fixed, {});
  expect_same_bits(d, gradient(llm_int8(0.0F), {.outlier_columns = columns}));
  for (const std::int64_t c : {4, 17}) {
    for (std::int64_t n = 0; n < 6; ++n) {
      Sum exact;
      for (std::int64_t m = 0; m < 9; ++m) exact.add(at(g, m, n) * at(x, m, c));
      expect_near(d, c, n, exact, 9);
    }
  }
}

TEST(LlmInt8WeightGradient, FollowsAlphaAndTheResultsScale) {
  const Weight weight(6, 20);
  const Tensor x = with_outliers(gaussians(float32, {9, 20}, 1), {2}, 3.0);
  const Tensor g = gaussians(float32, {9, 6}, 2);
  const ActivationQuant rule = llm_int8(6.0F);
  Operand a(x);
  a.quantize = &rule;
  const GradientOptions straight{.dequantized = true};
  const MatmulGradients plain = scaled_mm_vjp(g, a, weight.operand, {}, {.b = true}, straight);
  const Tensor factors = values(float32, {6}, {2, 2, 2, 2, 2, 2});
  const MatmulGradients scaled = scaled_mm_vjp(
      g, a, weight.operand, {.scale_result = factors, .alpha = 4.0F}, {.b = true}, straight);
  for (std::int64_t k = 0; k < 20; ++k) {
    for (std::int64_t n = 0; n < 6; ++n) EXPECT_EQ(at(scaled.b, k, n), 8.0 * at(plain.b, k, n));
  }
}

}  // namespace
}  // namespace octavo::test::llm_int8_test
