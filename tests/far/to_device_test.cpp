// SPDX-License-Identifier: Apache-2.0
// Packed weights and experts that are brought to a far device and back.
#include "far/same.hpp"
#include "octavo/llm_int8.hpp"
#include "octavo/moe.hpp"

namespace octavo::test::to_device_test {
namespace {

constexpr std::int64_t kM = 7, kN = 40, kK = 96;

struct Weight {
  const char* name;
  PackedWeight packed;  // on the host
};

PackedWeight made(DType dtype, const Granularity& granularity,
                  const std::optional<ActivationQuant>& rule, bool azp = false) {
  const Tensor w = gaussians(float32, {kK, kN}, 3);
  const Quantized q = quantize(
      w, {.dtype = dtype, .granularity = granularity, .side = octavo::Side::b, .azp = azp});
  return pack(Operand(q), {.activation = rule});
}

std::vector<Weight> weights() {
  ActivationQuant azp = rule_of(uint8);
  azp.spec.azp = true;
  ActivationQuant fixed = rule_of(float8_e4m3fn, per_tensor());
  fixed.static_scale = 0.05F;
  ActivationQuant llm;
  llm.vectorwise = true;
  llm.outlier_threshold = 6.0F;
  llm.outlier_columns = values(int64, {2}, {5, 30});
  const Tensor w = integers(int8, {kK, kN}, 4);
  const Tensor unscaled = gaussians(bfloat16, {kK, kN}, 5);
  return {{"int8", made(int8, per_channel(), rule_of(int8))},
          {"fp8", made(float8_e4m3fn, per_channel(), rule_of(float8_e4m3fn))},
          {"zero points of activations", made(int8, per_channel(), azp)},
          {"zero points of the weight", made(int8, per_channel(), {}, true)},
          {"blocks", made(float8_e4m3fn, block(32, 16), rule_of(float8_e4m3fn, group(32)))},
          {"groups", made(int8, group(32), {})},
          {"static", made(float8_e4m3fn, per_channel(), fixed)},
          {"llm", made(int8, per_channel(), llm)},
          {"a number", pack(Operand(w), {.scale = 0.01F, .activation = rule_of(int8)})},
          {"a slice", pack([&] {
             const Quantized q =
                 quantize(gaussians(float32, {kK, kN}, 3),
                          {.dtype = int8, .granularity = block(32, 16), .side = octavo::Side::b});
             Quantized part = q;
             part.data =
                 Tensor::adopt(std::make_shared<Tensor>(q.data), q.data.view().slice(0, 8, kK));
             part.row0 = 8;
             return part;
           }())},
          {"floats", pack(Operand(unscaled))}};
}

void expect_same_list(const Tensor& got, const Tensor& want) {
  ASSERT_EQ(got.defined(), want.defined());
  if (want.defined()) expect_same_numbers(to_host(got), want);
}

void expect_same_content(const PackedWeight& got, const PackedWeight& want) {
  const Quantized a = unpack(got);
  const Quantized b = unpack(want);
  expect_same_list(a.data, b.data);
  expect_same_list(a.scale, b.scale);
  expect_same_list(a.azp, b.azp);
  EXPECT_TRUE(a.grid == b.grid);
  EXPECT_EQ(a.row0, b.row0);
  EXPECT_EQ(a.col0, b.col0);
  ASSERT_EQ(got.activation().has_value(), want.activation().has_value());
  if (!want.activation()) return;
  EXPECT_EQ(got.activation()->spec.dtype, want.activation()->spec.dtype);
  EXPECT_EQ(got.activation()->spec.azp, want.activation()->spec.azp);
  EXPECT_TRUE(got.activation()->spec.granularity == want.activation()->spec.granularity);
  EXPECT_EQ(got.activation()->vectorwise, want.activation()->vectorwise);
  EXPECT_EQ(got.activation()->outlier_threshold, want.activation()->outlier_threshold);
  EXPECT_EQ(got.activation()->static_scale, want.activation()->static_scale);
  expect_same_list(got.activation()->outlier_columns, want.activation()->outlier_columns);
}

TEST(FarWeights, GoAndComeBack) {
  install_far_device();
  for (const Weight& w : weights()) {
    SCOPED_TRACE(w.name);
    EXPECT_TRUE(w.packed.device() == Device{});
    const PackedWeight far = to_device(w.packed, kFar);
    EXPECT_TRUE(far.device() == kFar);
    EXPECT_EQ(to_device(far, kFar).content(), far.content());
    EXPECT_EQ(to_device(w.packed, Device{}).content(), w.packed.content());
    expect_same_content(far, w.packed);
    const PackedWeight back = to_device(far, Device{});
    EXPECT_TRUE(back.device() == Device{});
    EXPECT_STREQ(back.layout(), w.packed.layout());
    expect_same_content(back, w.packed);
    if (const auto& rule = back.activation(); rule && rule->outlier_columns.defined()) {
      EXPECT_TRUE(rule->outlier_columns.device() == Device{});
    }
  }
}

TEST(FarWeights, MultiplyAsAtHome) {
  for (const Weight& w : weights()) {
    SCOPED_TRACE(w.name);
    Tensor x = gaussians(bfloat16, {kM, w.packed.k()}, 1);
    kit::store(x, 2 * w.packed.k() + 7, 40.0);  // an outlier that no list has
    expect_same_far([&](Where& where) -> Outputs {
      const PackedWeight weight = where(w.packed);
      const Tensor y = linear(where(x), weight, {.bias = where(gaussians(float32, {kN}, 2))});
      const MatmulGradients d = linear_vjp(where(gaussians(bfloat16, {kM, kN}, 6)), where(x),
                                           weight, {}, {.a = true}, {});
      return {y, d.a};
    });
    const PackedWeight back = to_device(to_device(w.packed, kFar), Device{});
    expect_same_numbers(linear(x, back), linear(x, w.packed));
  }
}

TEST(FarWeights, WithoutElements) {
  install_far_device();
  const PackedWeight none =
      pack(Operand(Tensor::empty(int8, {0, kN})), {.scale = 1.0F, .activation = rule_of(int8)});
  const PackedWeight back = to_device(to_device(none, kFar), Device{});
  EXPECT_EQ(back.k(), 0);
  EXPECT_EQ(back.n(), kN);
}

TEST(FarWeights, TwoLevelsOfScales) {
  const Tensor codes = integers(int8, {kK, kN}, 7, -7, 7);
  const Tensor blocks = uniforms(float32, {kK / 16, kN}, 8);
  Operand weight(codes);
  weight.scale[0].kind = ScaleKind::tensor;
  weight.scale[0].data = blocks;
  weight.scale[0].rows = 16;
  weight.scale[0].cols = 1;
  weight.scale[1].kind = ScaleKind::number;
  weight.scale[1].number = 0.5F;
  const PackedWeight packed = pack(weight);
  expect_same_far([&](Where& where) -> Outputs {
    return {linear(where(gaussians(bfloat16, {kM, kK}, 1)), where(packed))};
  });
}

TEST(FarWeights, ListsOfTheHost) {
  const PackedWeight packed = made(int8, per_channel(), {});
  const Tensor x = gaussians(bfloat16, {kM, kK}, 1);
  ActivationQuant llm;
  llm.vectorwise = true;
  llm.outlier_columns = values(int64, {2}, {5, 30});  // wherever the others are
  expect_same_far([&](Where& where) -> Outputs {
    return {linear(where(x), with_activation(where(packed), llm))};
  });
  expect_same_far([&](Where& where) -> Outputs {
    const VectorwiseQuant q =
        int8_vectorwise_quant(where(x), {.outlier_columns = llm.outlier_columns});
    return {q.codes, q.row_absmax, q.outlier_cols};
  });
}

TEST(FarWeights, Experts) {
  constexpr std::int64_t kExperts = 3, kInner = 24, kSlots = 2;
  const Tensor ids = integers(int32, {kM, kSlots}, 1, 0, kExperts - 1);
  const Tensor factors = uniforms(float32, {kM, kSlots}, 2, 0.1, 0.9);
  const Tensor w13 = gaussians(int8, {kExperts, 2 * kInner, kK}, 3, 40.0);
  const Tensor w2 = gaussians(int8, {kExperts, kN, kInner}, 4, 40.0);
  const Tensor scale13 = uniforms(float32, {kExperts, 2 * kInner}, 5);
  const Tensor scale2 = uniforms(float32, {kExperts, kN}, 6);
  const Tensor blocks13 = uniforms(float32, {kExperts, 2 * kInner / 16, kK / 32}, 5);
  const std::optional<ActivationQuant> rule = rule_of(int8);
  struct Both {
    const char* name;
    ExpertWeights w13, w2;
  };
  const std::vector<Both> all{
      {"channels", pack_experts(w13, {.scale = {scale13, per_channel()}, .activation = rule}),
       pack_experts(w2, {.scale = {scale2, per_channel()}, .activation = rule})},
      {"blocks", pack_experts(w13, {.scale = {blocks13, block(16, 32)}}),
       pack_experts(w2, {.scale = {scale2, per_channel()}})},
      {"a number", pack_experts(w13, {.scale = 0.01F, .activation = rule}),
       pack_experts(w2, {.scale = 0.01F, .activation = rule})},
      {"none", pack_experts(w13, {}), pack_experts(w2, {})}};
  install_far_device();
  for (const Both& b : all) {
    SCOPED_TRACE(b.name);
    expect_same_far([&](Where& where) -> Outputs {
      return {fused_experts(where(gaussians(bfloat16, {kM, kK}, 8)), where(b.w13), where(b.w2),
                            where(factors), where(ids))};
    });
    const ExpertWeights far = to_device(b.w13, kFar);
    EXPECT_TRUE(far.device() == kFar);
    EXPECT_EQ(to_device(far, kFar).content(), far.content());
    const ExpertWeights back = to_device(far, Device{});
    EXPECT_TRUE(back.device() == Device{});
    EXPECT_STREQ(back.layout(), b.w13.layout());
    const UnpackedExperts want = unpack_experts(b.w13);
    const UnpackedExperts got = unpack_experts(back);
    expect_same_list(got.data, want.data);
    expect_same_list(got.scale, want.scale);
    EXPECT_TRUE(back.granularity() == b.w13.granularity());
    EXPECT_EQ(back.activation().has_value(), b.w13.activation().has_value());
  }
}

}  // namespace
}  // namespace octavo::test::to_device_test
