// SPDX-License-Identifier: Apache-2.0
// Gradients on a far device.
#include "far/same.hpp"
#include "octavo/gradient.hpp"
#include "support/scale_shape.hpp"

namespace octavo::test::gradients_test {
namespace {

constexpr std::int64_t kM = 6, kN = 12, kK = 32;

TEST(FarGradients, ScaledMm) {
  struct Case {
    DType a, b, out;
    Granularity scale_a, scale_b;
    bool azp;
  };
  using enum DType;
  for (const Case& c : {Case{int8, int8, bfloat16, per_token(), per_channel(), false},
                        Case{int8, int8, int8, per_token(), per_channel(), true},
                        Case{float8_e4m3fn, float8_e4m3fn, float32, group(16), block(16, 4), false},
                        Case{bfloat16, bfloat16, bfloat16, per_tensor(), per_tensor(), false},
                        Case{float16, int8, float16, per_tensor(), per_channel(), false}}) {
    SCOPED_TRACE(std::string(name(c.a)) + " " + std::string(name(c.out)));
    const Tensor a = gaussians(c.a, {kM, kK}, 1, is_integer8(c.a) ? 30.0 : 1.0);
    const Tensor b = gaussians(c.b, {kK, kN}, 2, is_integer8(c.b) ? 30.0 : 1.0);
    const auto scale_of = [](const Granularity& g, Side side, std::int64_t rows,
                             std::int64_t cols) {
      return uniforms(DType::float32, scale_shape(g, side, rows, cols), 3);
    };
    const Tensor sa = scale_of(c.scale_a, Side::a, kM, kK);
    const Tensor sb = scale_of(c.scale_b, Side::b, kK, kN);
    const Tensor azp = integers(int32, {kM, 1}, 4, -3000, 10);  // near and far ones
    const Tensor grad = gaussians(bfloat16, {kM, kN}, 5);
    expect_same_far([&](Where& where) -> Outputs {
      ScaledMmOptions o;
      o.scale_a = {where(sa), c.scale_a};
      o.scale_b = {where(sb), c.scale_b};
      o.bias = where(gaussians(float32, {kN}, 6));
      o.alpha = Scale(where(values(float32, {1}, {1.5})));
      o.beta = Scale(where(values(float32, {1}, {0.5})));
      o.c = where(gaussians(float32, {kM, kN}, 7));
      o.scale_result = Scale(where(uniforms(float32, {kN}, 8, 0.5, 2.0)));
      o.out_dtype = c.out;
      if (c.azp) o.azp = where(azp);
      const MatmulWanted all{true, true, true, true, true, true, true, true, true};
      return all_of(scaled_mm_vjp(where(grad), where(a), where(b), o, all));
    });
    expect_same_far([&](Where& where) -> Outputs {  // without scales' own, in bfloat16
      ScaledMmOptions o;
      o.scale_a = {where(sa), c.scale_a};
      o.scale_b = {where(sb), c.scale_b};
      if (c.azp) o.azp = where(azp);
      return all_of(scaled_mm_vjp(where(grad), where(a), where(b), o, {.a = true, .b = true}));
    });
  }
}

TEST(FarGradients, GroupedForms) {
  struct Case {
    Shape a, b, grad;
    bool offs;
  };
  const Tensor offs = values(int32, {3}, {2, 2, 5});
  for (const Case& c :
       {Case{{kM, kK}, {3, kK, kN}, {kM, kN}, true}, Case{{3, kM, kK}, {kK, kN}, {kM, kN}, true},
        Case{{kM, kK}, {kK, kN}, {3, kM, kN}, true},
        Case{{2, kM, kK}, {2, kK, kN}, {2, kM, kN}, false}}) {
    const Tensor a = gaussians(bfloat16, c.a, 1);
    const Tensor b = gaussians(bfloat16, c.b, 2);
    const Tensor grad = gaussians(bfloat16, c.grad, 3);
    expect_same_far([&](Where& where) -> Outputs {
      GroupedOptions o;
      if (c.offs) o.offs = where(offs);
      return all_of(grouped_mm_vjp(where(grad), where(a), where(b), o, {.a = true, .b = true}));
    });
  }
  expect_same_far([&](Where& where) -> Outputs {
    const Tensor scale = where(values(float32, {1}, {2.0}));
    return all_of(scaled_grouped_mm_vjp(
        where(gaussians(bfloat16, {2, kM, kN}, 1)), where(gaussians(bfloat16, {2, kM, kK}, 2)),
        where(gaussians(bfloat16, {2, kK, kN}, 3)), {.scale = Scale(scale)},
        {.a = true, .b = true, .alpha = true}));
  });
}

TEST(FarGradients, Linear) {
  const Quantized q =
      quantize(gaussians(float32, {kK, kN}, 3), {.granularity = per_channel(), .side = Side::b});
  const Tensor x = gaussians(bfloat16, {2, 3, kK}, 4);
  const Tensor grad = gaussians(bfloat16, {2, 3, kN}, 5);
  for (const int kind : {0, 1, 2}) {
    SCOPED_TRACE(kind);
    ActivationQuant rule;
    rule.spec.azp = kind == 1;
    rule.vectorwise = kind == 2;
    rule.outlier_threshold = kind == 2 ? 2.5F : 0.0F;
    expect_same_far([&](Where& where) -> Outputs {
      const LinearOptions o{.bias = where(gaussians(float32, {kN}, 6))};
      const Quantized weight = where(q);
      Outputs all = all_of(linear_vjp(where(grad), where(x), Operand(weight), rule, o,
                                      {.a = true, .b = true, .bias = true}));
      const PackedWeight packed = pack(Operand(weight), {.activation = rule});
      for (const Tensor& t : all_of(linear_vjp(where(grad), where(x), packed, o,
                                               {.a = true, .b = true, .bias = true}))) {
        all.push_back(t);
      }
      return all;
    });
  }
}

TEST(FarGradients, Quantizers) {
  const Tensor x = gaussians(float32, {kM, kK}, 1);
  const Tensor grad = gaussians(bfloat16, {kM, kK}, 2);
  for (const bool azp : {false, true}) {
    expect_same_far([&](Where& where) -> Outputs {
      QuantizeOptions o{.dtype = azp ? DType::uint8 : DType::float8_e4m3fn, .azp = azp};
      o.scale = {where(uniforms(float32, {kM, 1}, 3)), per_token()};
      if (azp) o.azp_in = where(integers(int32, {kM, 1}, 4, 0, 255));
      const QuantizeGradients d =
          quantize_vjp(where(grad), where(x), o, {.x = true, .scale = true}, 0.5F);
      const Quantized q = quantize(where(x), o);
      const DequantizeGradients e =
          dequantize_vjp(where(grad), q, {.data = true, .scale = true, .azp = azp});
      return {d.x, d.scale, e.data, e.scale, e.azp};
    });
  }
  expect_same_far([&](Where& where) -> Outputs {
    return {quantize_vjp(where(grad), where(x), {}, {.x = true}).x};
  });
}

TEST(FarGradients, Functional) {
  namespace fn = functional;
  const Tensor a = gaussians(float8_e4m3fn, {kM, kK}, 1);
  const Tensor b = gaussians(float8_e4m3fn, {2, kK, kN}, 2);
  const Tensor grad = gaussians(bfloat16, {kM, kN}, 3);
  const Tensor offs = values(int32, {2}, {2, 5});
  expect_same_far([&](Where& where) -> Outputs {
    const fn::RecipeScale sa{where(uniforms(float32, {kM}, 4)), fn::ScalingType::RowWise, {}};
    const fn::RecipeScale sb{where(uniforms(float32, {2, kN}, 5)), fn::ScalingType::RowWise, {}};
    return all_of(fn::scaled_grouped_mm_vjp(
        where(grad), where(a), where(b), {&sa, 1}, {&sb, 1}, {.offs = where(offs)},
        {.a = true, .b = true, .scale_a = true, .scale_b = true}));
  });
}

}  // namespace
}  // namespace octavo::test::gradients_test
