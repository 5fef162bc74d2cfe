// SPDX-License-Identifier: Apache-2.0
// Products, quantisers and LLM.int8's operations on a far device.
#include "far/same.hpp"
#include "octavo/functional.hpp"
#include "octavo/llm_int8.hpp"

namespace octavo::test::operations_test {
namespace {

constexpr std::int64_t kM = 7, kN = 20, kK = 48;

Tensor activations(unsigned seed = 1, DType dtype = bfloat16) {
  Tensor x = gaussians(dtype, {kM, kK}, seed);
  for (const std::int64_t c : {5, 30}) kit::store(x, 2 * kK + c, 40.0);  // outliers
  return x;
}

struct LinearCase {
  const char* name;
  DType weight;
  ActivationQuant rule;
};
std::vector<LinearCase> linear_cases() {
  std::vector<LinearCase> all{{"int8", int8, rule_of(int8)},
                              {"fp8", float8_e4m3fn, rule_of(float8_e4m3fn)},
                              {"groups", float8_e4m3fn, rule_of(float8_e4m3fn, group(16))},
                              {"tensor", int8, rule_of(int8, per_tensor())}};
  ActivationQuant azp = rule_of(uint8);
  azp.spec.azp = true;
  all.push_back({"azp", int8, azp});
  ActivationQuant fixed = rule_of(int8, per_tensor());
  fixed.static_scale = 0.05F;
  all.push_back({"static", int8, fixed});
  ActivationQuant llm;
  llm.vectorwise = true;
  llm.outlier_threshold = 6.0F;
  all.push_back({"llm", int8, llm});
  return all;
}

TEST(Far, Linear) {
  for (const LinearCase& c : linear_cases()) {
    SCOPED_TRACE(c.name);
    const Tensor w = gaussians(float32, {kK, kN}, 3);
    const Quantized q =
        quantize(w, {.dtype = c.weight, .granularity = per_channel(), .side = octavo::Side::b});
    const Tensor bias = gaussians(float32, {kN}, 4);
    for (const bool packed : {true, false}) {
      expect_same_far([&](Where& where) -> Outputs {
        const Quantized weight = where(q);
        const Tensor& x = where(activations());
        const LinearOptions options{.bias = where(bias)};
        if (!packed) return {linear(x, Operand(weight), c.rule, options)};
        return {linear(x, pack(Operand(weight), {.activation = c.rule}), options)};
      });
    }
  }
}

TEST(Far, LinearOfAnyRankAndStrides) {
  const Tensor x = gaussians(bfloat16, {3, 4, kK}, 5);
  const Strided apart = strided(x, {2000, 50, 1});  // its leading dimensions do not merge
  const Tensor w = integers(int8, {kK, kN}, 6);
  expect_same_far([&](Where& where) -> Outputs {
    const Tensor out = where(gaussians(bfloat16, {3, 4, kN}, 1));
    const TensorView turned = [&] {
      TensorView v = out;
      std::swap(v.strides[0], v.strides[1]);
      v.strides[0] = kN;
      v.strides[1] = 3 * kN;
      return v;
    }();
    linear(where(apart.view), Operand(where(w)), rule_of(int8), {.out = turned});
    return {out};
  });
}

TEST(Far, OutlierColumnsOfACallAndOfAWeight) {
  const Tensor w = integers(int8, {kK, kN}, 7);
  ActivationQuant rule;
  rule.vectorwise = true;
  rule.outlier_threshold = 6.0F;
  rule.outlier_columns = values(int64, {1}, {3});
  const Tensor more = values(int64, {2}, {3, 17});
  std::vector<std::vector<std::int64_t>> found;
  expect_same_far([&](Where& where) -> Outputs {
    ActivationQuant own = rule;
    own.outlier_columns = where(rule.outlier_columns);
    const PackedWeight packed = pack(Operand(where(w)), {.scale = 0.01F, .activation = own});
    LinearOptions options;
    options.outlier_columns = where(more);
    options.found_columns = &found.emplace_back();
    return {linear(where(activations()), packed, options)};
  });
  EXPECT_EQ(found[0], (std::vector<std::int64_t>{3, 5, 17, 30}));
  EXPECT_EQ(found[1], found[0]);
}

TEST(Far, GroupedFormsReadNoOffsetsOnTheHost) {
  const Tensor a = gaussians(bfloat16, {10, 32}, 1);
  const Tensor b = gaussians(bfloat16, {3, 32, 16}, 2);
  for (const DType type : {int32, int64}) {
    // One far outside: kernels clamp what nobody validates.
    for (const std::vector<double>& ends : {std::vector<double>{4, 4, 9}, {4, 4, 1000000}}) {
      const bool valid = ends[2] < 100;
      const Tensor want_offs = values(type, {3}, valid ? ends : std::vector<double>{4, 4, 10});
      const Tensor offs = values(type, {3}, ends);
      const Tensor want = grouped_mm(a, b, {.offs = want_offs, .backend = "reference"});
      const Tensor got = grouped_mm(to_far(a), to_far(b), {.offs = to_far(offs)});
      expect_same_bits(to_host(got), want);
    }
  }
}

TEST(Far, OffsetsOfTheHostCutFarOperands) {
  const Tensor a = gaussians(bfloat16, {10, 32}, 1);
  const Tensor b = gaussians(bfloat16, {3, 32, 16}, 2);
  const Tensor offs = values(int32, {3}, {4, 4, 9});
  const Tensor want = grouped_mm(a, b, {.offs = offs, .backend = "reference"});
  expect_same_bits(to_host(grouped_mm(to_far(a), to_far(b), {.offs = offs})), want);
  expect_error(
      [&] {
        (void)grouped_mm(to_far(a), to_far(b), {.offs = values(int32, {3}, {4, 3, 9})});
      },
      Code::invalid_argument, "grouped_mm: offs[1] must be in [4, 10] (cumulative ends); got 3");
}

TEST(Far, ListsOfProducts) {
  expect_same_far([&](Where& where) -> Outputs {
    const std::vector<Operand> inputs{where(gaussians(bfloat16, {2, 16}, 1)),
                                      where(gaussians(bfloat16, {5, 8}, 2))};
    const std::vector<Operand> weights{where(gaussians(bfloat16, {16, 4}, 3)),
                                       where(gaussians(bfloat16, {8, 24}, 4))};
    const std::vector<Tensor> outs = grouped_mm(inputs, weights);
    return outs;
  });
}

TEST(Far, ScalesInTiles) {
  namespace fn = functional;
  const Tensor a = gaussians(float8_e4m3fn, {130, 64}, 1);
  const Tensor b = gaussians(float8_e4m3fn, {64, 96}, 2);
  const Tensor sa = integers(float8_e8m0fnu, {256 * 4}, 3, 1, 1);
  const Tensor sb = integers(float8_e8m0fnu, {128 * 4}, 4, 1, 1);
  expect_same_far([&](Where& where) -> Outputs {
    const fn::RecipeScale scale_a{where(sa), fn::ScalingType::BlockWise1x32,
                                  fn::SwizzleType::SWIZZLE_32_4_4};
    const fn::RecipeScale scale_b{where(sb), fn::ScalingType::BlockWise1x32,
                                  fn::SwizzleType::SWIZZLE_32_4_4};
    return {fn::scaled_mm(where(a), where(b), {&scale_a, 1}, {&scale_b, 1}, {})};
  });
  const Tensor experts = gaussians(float8_e4m3fn, {2, 64, 96}, 5);
  const Tensor stacked = integers(float8_e8m0fnu, {2 * 128 * 4}, 6, 1, 1);
  const Tensor offs = values(int32, {2}, {50, 130});
  const Tensor groups = integers(float8_e8m0fnu, {2 * 128 * 4}, 7, 1, 1);
  SCOPED_TRACE("grouped");
  expect_same_far([&](Where& where) -> Outputs {
    const fn::RecipeScale scale_a{where(groups), fn::ScalingType::BlockWise1x32,
                                  fn::SwizzleType::SWIZZLE_32_4_4};
    const fn::RecipeScale scale_b{where(stacked), fn::ScalingType::BlockWise1x32,
                                  fn::SwizzleType::SWIZZLE_32_4_4};
    return {fn::scaled_grouped_mm(where(a), where(experts), {&scale_a, 1}, {&scale_b, 1},
                                  {.offs = where(offs)})};
  });
}

TEST(Far, Quantizers) {
  using enum DType;
  const Tensor x = gaussians(float32, {kM, kK}, 8);
  for (const Granularity& granularity : {per_token(), per_tensor(), group(16), block(4, 16)}) {
    for (const DType dtype : {int8, uint8, float8_e4m3fn}) {
      SCOPED_TRACE(to_string(granularity) + " " + std::string(name(dtype)));
      QuantizeOptions o{.dtype = dtype, .granularity = granularity, .azp = dtype == uint8};
      expect_same_far([&](Where& where) -> Outputs {
        const Quantized q = quantize(where(x), o);
        return {q.data, q.scale, q.azp, dequantize(q), compute_scale(where(x), o).scale};
      });
    }
  }
  expect_same_far([&](Where& where) -> Outputs {
    const Quantized by_number = quantize(where(x), {.granularity = per_tensor(), .scale = 0.1F});
    const QuantizeOptions o{.granularity = per_token(),
                            .azp = true,
                            .scale = {where(uniforms(float32, {kM, 1}, 1)), per_token()},
                            .azp_in = where(integers(int32, {kM, 1}, 2, -5, 5))};
    const Quantized by_tensor = quantize(where(x), o);
    const Quantized mx = quantize_mxfp8(where(x));
    return {by_number.data, by_number.scale, by_tensor.data, by_tensor.scale,
            by_tensor.azp,  mx.data,         mx.scale,       dequantize(by_tensor, float16)};
  });
}

TEST(Far, RotationsAreTheHosts) {
  ActivationQuant rule = rule_of(int8);
  rule.rotation = 16;
  const Tensor x = to_far(activations());
  const Tensor w = to_far(integers(int8, {kK, kN}, 6));
  expect_error([&] { (void)linear(x, Operand(w), rule); }, Code::unavailable,
               "linear: x.quantize.rotation must be 0 but on the CPU; got 16 on " + kFarName);
  const PackExpertsOptions rotating{.activation = rule};
  const ExpertWeights w13 = pack_experts(to_far(integers(int8, {1, 32, kK}, 7)), rotating);
  const ExpertWeights w2 = pack_experts(to_far(integers(int8, {1, kN, 16}, 8)), rotating);
  const Tensor ids = to_far(integers(int32, {kM, 1}, 1, 0, 0));
  const Tensor weights = to_far(gaussians(float32, {kM, 1}, 9));
  expect_error(
      [&] { (void)fused_experts(x, w13, w2, weights, ids); }, Code::unavailable,
      "fused_experts: w13.activation.rotation must be 0 but on the CPU; got 16 on " + kFarName);
}

TEST(Far, WhatIsNotFiniteIsFound) {
  Tensor x = gaussians(float32, {kM, kK}, 8);
  kit::store(x, 3 * kK + 4, std::nan(""));
  const Tensor far = to_far(x);
  expect_error([&] { (void)quantize(far, {.non_finite = NonFinite::error}); },
               Code::invalid_argument, "quantize: x[3, 4] must be finite; got nan");
}

TEST(Far, LlmInt8) {
  const Tensor x = activations();
  const Tensor w = gaussians(bfloat16, {kN, kK}, 9);
  const Tensor fixed = values(int64, {2}, {1, 30});
  const Tensor bias = gaussians(float16, {kN}, 10);
  for (const bool by_element : {false, true}) {
    expect_same_far([&](Where& where) -> Outputs {
      const Tensor columns = where(fixed);
      const VectorwiseOptions o{
          .threshold = 6.0F, .by_element = by_element, .outlier_columns = columns};
      const VectorwiseQuant a = int8_vectorwise_quant(where(x), o);
      const DoubleQuant d = int8_double_quant(where(x), o);
      const VectorwiseQuant b = int8_vectorwise_quant(where(w));
      const Tensor acc = int8_linear_matmul(a.codes, b.codes);
      const Tensor y = int8_mixed_scaled_mm(where(x), a.codes, b.codes, a.row_absmax, b.row_absmax,
                                            {.outlier_cols = a.outlier_cols, .bias = where(bias)});
      return {a.codes,
              a.row_absmax,
              a.outlier_cols,
              d.row_codes,
              d.col_codes,
              d.row_absmax,
              d.col_absmax,
              d.outlier_cols,
              acc,
              int8_mm_dequant(acc, a.row_absmax, b.row_absmax, where(bias)),
              int8_scaled_mm(a.codes, b.codes, a.row_absmax, b.row_absmax, where(bias)),
              y,
              int8_vectorwise_dequant(b.codes, b.row_absmax)};
    });
  }
}

TEST(Far, PackingAndUnpacking) {
  const Quantized q = quantize(gaussians(float32, {kK, kN}, 3),
                               {.granularity = per_channel(), .side = octavo::Side::b});
  expect_same_far([&](Where& where) -> Outputs {
    const Quantized same = unpack(pack(Operand(where(q))));
    const Quantized number = unpack(pack(Operand(where(q.data)), {.scale = 0.5F}));
    return {same.data, same.scale, number.data, number.scale};
  });
  const Tensor empty = Tensor::empty(int8, {kK, 0});
  expect_same_far([&](Where& where) -> Outputs {
    return {unpack(pack(Operand(where(empty)), {.scale = 1.0F})).data};
  });
}

TEST(Far, SlicesThatBeginInsideACell) {
  for (const Granularity& g : {group(16), block(10, 7), block(200, 6)}) {
    for (const bool azp : {false, true}) {
      SCOPED_TRACE(to_string(g) + (azp ? ", zero points" : ""));
      Quantized part =
          quantize(gaussians(float32, {kK, kN}, 3),
                   {.granularity = g, .side = octavo::Side::b, .azp = azp, .widen = azp});
      const std::int64_t row = 3, col = std::min<std::int64_t>(part.grid.cols - 1, 2);
      part.data = copy(part.data.view().slice(0, row, kK).slice(1, col, kN), int8);
      part.row0 = row;
      part.col0 = col;
      const Tensor x = integers(int8, {5, kK - row}, 1);
      expect_same_far([&](Where& where) -> Outputs {
        const Quantized slice = where(part);
        Outputs out{scaled_mm(where(x), slice, {.out_dtype = float32}), dequantize(slice)};
        const Quantized back = unpack(pack(slice));
        out.insert(out.end(), {back.data, back.scale, back.azp});
        return out;
      });
    }
  }
}

TEST(Far, CopiesAndConversions) {
  const Tensor x = gaussians(float32, {5, 6}, 1);
  const TensorView turned = x.view().transposed();
  EXPECT_EQ(bytes_of(to_host(copy(turned, Place{kFar}))), bytes_of(turned));
  const Tensor far = x.to(Place{kFar});
  EXPECT_EQ(bytes_of(far.transposed().to(Place{})), bytes_of(turned));
  EXPECT_EQ(bytes_of(far.to(bfloat16).to(Place{})), bytes_of(x.to(bfloat16)));
  EXPECT_EQ(bytes_of(far.to(Place{kFar}).to(Place{})), bytes_of(x));
  const Tensor empty = Tensor::empty(float32, {0, 3}, Place{kFar});
  EXPECT_EQ(empty.to(Place{}).numel(), 0);
  expect_error(
      [] {
        (void)Tensor::empty(DType::float32, {2}, Place{{kFar.type, 3}});
      },
      Code::unavailable, "device must be ");
}

TEST(Far, WorkIsLateAndInOrder) {
  const Tensor a = integers(int8, {4, 16}, 1);
  const Tensor b = integers(int8, {16, 8}, 2);
  const Tensor want = scaled_mm(a, b);
  const ExecContext context{.stream = kFarStream};
  Tensor got;
  {
    const Tensor far_a = copy(a, Place{kFar, kFarStream});
    const Tensor far_b = copy(b, Place{kFar, kFarStream});
    got = scaled_mm(far_a, far_b, {}, context);
  }                                                      // operands go before anything ran
  (void)to_host(Tensor::empty(int8, {1}, Place{kFar}));  // another stream is no help
  const Tensor late = copy(got, Place{{}, kFarStream});
  expect_same_bits(late, want);
}

TEST(FarDeathTest, MemoryIsNotTheHosts) {
  const Tensor far = to_far(integers(int8, {4}, 1));
  EXPECT_DEATH(*far.data_as<volatile char>() = 1, "");
  EXPECT_DEATH((void)*far.data_as<volatile char>(), "");
}

TEST(Far, DevicesDoNotMix) {
  const Tensor a = integers(int8, {4, 16}, 1);
  const Tensor b = integers(int8, {16, 8}, 2);
  expect_error([&] { (void)scaled_mm(to_far(a), b); }, Code::invalid_argument,
               "scaled_mm: b.device must be that of a, " + kFarName + "; got cpu");
  expect_error([&] { (void)scaled_mm(a, to_far(b)); }, Code::invalid_argument,
               "scaled_mm: b.device must be that of a, cpu; got " + kFarName);
  const Tensor bias = gaussians(float32, {8}, 1);
  expect_error([&] { (void)scaled_mm(to_far(a), to_far(b), {.bias = bias}); },
               Code::invalid_argument,
               "scaled_mm: bias.device must be that of a, " + kFarName + "; got cpu");
  expect_error([&] { (void)scaled_mm(to_far(a), to_far(b), {.backend = "generic"}); },
               Code::unsupported, "generic");
}

}  // namespace
}  // namespace octavo::test::operations_test
