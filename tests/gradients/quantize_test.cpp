// SPDX-License-Identifier: Apache-2.0
// The gradients of quantisers: straight through, learned step sizes, dequantize.
#include "gradients/check.hpp"

namespace octavo::test::quantize_test {
namespace {

constexpr std::int64_t kRows = 12, kColumns = 21;

TEST(QuantizeGradients, ArePassedStraightThroughWithAComputedScale) {
  const Tensor x = gaussians(bfloat16, {kColumns, kRows}, 1).transposed();
  const Tensor grad = gaussians(bfloat16, {kRows, kColumns}, 2);
  const QuantizeGradients d = quantize_vjp(grad, x, {}, {.x = true});
  EXPECT_EQ(d.x.view().strides, x.view().strides);
  expect_same_bits(d.x, grad);
  EXPECT_FALSE(d.scale.defined());
}

struct Case {
  const char* name;
  DType dtype;
  Granularity granularity;
  Shape scale;
  bool azp = false;
};

TEST(QuantizeGradients, LearnTheStepSize) {
  const Case cases[] = {
      {"int8 tensor", int8, per_tensor(), {1}},
      {"int8 token", int8, per_token(), {kRows, 1}},
      {"int8 azp", int8, per_token(), {kRows, 1}, true},
      {"uint8 azp", uint8, group(8), {kRows, 3}, true},
      {"fp8 block", float8_e4m3fn, block(8, 16), {2, 2}},
      {"fp8 per K", float8_e5m2, per_k(), {1, kColumns}},
  };
  const Tensor x = gaussians(float32, {kRows, kColumns}, 1, 2.0);
  const Tensor grad = gaussians(float32, {kRows, kColumns}, 2);
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    // Some of the values are clipped.
    const double step = 3.0 / static_cast<double>(qmax(c.dtype)) * (c.dtype == uint8 ? 2.0 : 1.0);
    const Tensor s = uniforms(float32, c.scale, 3, step, 1.3 * step);
    const Tensor azp = integers(int32, c.scale, 4, c.dtype == int8 ? -20 : 100, 140);
    QuantizeOptions o{.dtype = c.dtype, .granularity = c.granularity, .azp = c.azp, .scale = s};
    if (c.azp) o.azp_in = azp;
    const float factor = 0.125F;
    const QuantizeGradients d = quantize_vjp(grad, x, o, {.x = true, .scale = true}, factor);
    const Quantized q = quantize(x, o);
    const ScaleGrid grid = scale_grid(c.granularity, Side::a);
    Terms terms;
    std::int64_t clipped = 0;
    const double low = c.dtype == uint8 ? 0 : -128;
    for (std::int64_t i = 0; i < kRows; ++i) {
      for (std::int64_t j = 0; j < kColumns; ++j) {
        const std::int64_t cell = i / grid.rows * (s.rank() == 2 ? s.size(1) : 0) + j / grid.cols;
        const double zero = c.azp ? at(azp, cell) : 0.0;
        const double quotient = at(x, i, j) / at(s, cell);
        const double code = at(q.data, i, j) - zero;
        const bool inside = is_float8(c.dtype)
                                ? std::abs(quotient) <= static_cast<double>(qmax(c.dtype))
                                : std::nearbyint(quotient) + zero >= low &&
                                      std::nearbyint(quotient) + zero <= low + 255;
        clipped += inside ? 0 : 1;
        EXPECT_EQ(at(d.x, i, j), inside ? at(grad, i, j) : 0.0);
        const double slope = inside ? code - quotient : code;
        Term& t = terms[s.view().at(cell)];
        t.value += static_cast<double>(factor) * at(grad, i, j) * slope;
        // The quotient is a float32.
        t.magnitude += static_cast<double>(factor) * std::abs(at(grad, i, j)) *
                       (std::abs(code) + std::abs(quotient));
        t.steps = 2;
      }
    }
    EXPECT_GT(clipped, 0);
    expect_gradient("scale", d.scale, s, terms);
  }
  const QuantizeGradients number =
      quantize_vjp(grad, x, {.granularity = per_tensor(), .scale = 0.02}, {.scale = true});
  const Tensor one = values(float32, {1}, {0.02F});
  const QuantizeGradients tensor =
      quantize_vjp(grad, x, {.granularity = per_tensor(), .scale = one}, {.scale = true});
  EXPECT_EQ(number.scale.rank(), 0);
  EXPECT_EQ(at(number.scale, 0), at(tensor.scale, 0));
}

TEST(DequantizeGradients, AreThoseOfTheFormula) {
  const Tensor x = gaussians(float32, {kRows, kColumns}, 1, 2.0);
  const Tensor grad = gaussians(float32, {kRows, kColumns}, 2);
  for (const bool azp : {false, true}) {
    const Quantized q =
        quantize(x, {.dtype = azp ? uint8 : int8, .granularity = group(8), .azp = azp});
    const DequantizeGradients d =
        dequantize_vjp(grad, q, {.data = true, .scale = true, .azp = azp});
    Terms scale;
    Terms zero;
    for (std::int64_t i = 0; i < kRows; ++i) {
      for (std::int64_t j = 0; j < kColumns; ++j) {
        const double g = at(grad, i, j);
        const double s = at(q.scale, i, j / 8);
        const double z = azp ? at(q.azp, i, j / 8) : 0.0;
        EXPECT_EQ(at(d.data, i, j), static_cast<double>(static_cast<float>(g * s)));
        Term& t = scale[q.scale.view().at(i * 3 + j / 8)];
        t.value += g * (at(q.data, i, j) - z);
        t.magnitude += std::abs(g * (at(q.data, i, j) - z));
        t.steps = 1;
        if (!azp) continue;
        Term& u = zero[q.azp.view().at(i * 3 + j / 8)];
        u.value -= g * s;
        u.magnitude += std::abs(g * s);
        u.steps = 1;
      }
    }
    expect_gradient("scale", d.scale, q.scale, scale);
    if (azp) expect_gradient("azp", d.azp, q.azp, zero);
  }
}

}  // namespace
}  // namespace octavo::test::quantize_test
