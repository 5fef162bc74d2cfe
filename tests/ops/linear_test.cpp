// SPDX-License-Identifier: Apache-2.0
// linear: bit-equal to the separate quantiser followed by scaled_mm, for every rule, rank, stride.
#include "ops/helpers.hpp"

namespace octavo::test {
namespace {

struct Rule {
  const char* name;
  DType weight;
  std::optional<ActivationQuant> activation;
};

ActivationQuant rule(DType dtype, Granularity granularity, bool azp = false,
                     ScaleRounding rounding = ScaleRounding::none, DType scale = float32) {
  ActivationQuant q;
  q.spec.dtype = dtype;
  q.spec.granularity = granularity;
  q.spec.azp = azp;
  q.spec.rounding = rounding;
  q.spec.scale_dtype = scale;
  return q;
}
ActivationQuant fixed(DType dtype, float scale, bool azp = false, std::int32_t zero_point = 0) {
  ActivationQuant q = rule(dtype, per_tensor(), azp);
  q.static_scale = scale;
  q.static_azp = zero_point;
  return q;
}
ActivationQuant llm_int8(float threshold) {
  ActivationQuant q;
  q.vectorwise = true;
  q.outlier_threshold = threshold;
  return q;
}

const std::vector<Rule>& rules() {
  static const std::vector<Rule> all{
      {"AsTheyAre", int8, std::nullopt},
      {"AsTheyAreFloat8", float8_e5m2, std::nullopt},
      {"Int8PerToken", int8, rule(int8, per_token())},
      {"Int8PerTensor", int8, rule(int8, per_tensor())},
      {"Int8PerGroup", int8, rule(int8, group(16))},
      {"Int8Azp", int8, rule(int8, per_token(), true)},
      {"Uint8Azp", int8, rule(uint8, per_token(), true)},
      {"Uint8AzpPerTensor", int8, rule(uint8, per_tensor(), true)},
      {"Float8PerToken", float8_e4m3fn, rule(float8_e4m3fn, per_token())},
      {"Float8OfAnotherKind", float8_e4m3fn, rule(float8_e5m2, per_tensor())},
      {"Float8Groups", float8_e4m3fn, rule(float8_e4m3fn, group(32))},
      {"Float8Powers", float8_e4m3fn,
       rule(float8_e4m3fn, group(16), false, ScaleRounding::power_of_two)},
      {"StaticInt8", int8, fixed(int8, 0.03F)},
      {"StaticInt8Azp", int8, fixed(int8, 0.02F, true, -17)},
      {"StaticUint8Azp", int8, fixed(uint8, 0.02F, true, 300)},
      {"StaticFloat8", float8_e4m3fn, fixed(float8_e4m3fn, 0.0078125F)},
      {"Mx", float8_e4m3fn,
       rule(float8_e4m3fn, group(32), false, ScaleRounding::mx_floor, float8_e8m0fnu)},
      {"Blocks", float8_e4m3fn, rule(float8_e4m3fn, block(2, 32))},
      {"LlmInt8WithoutOutliers", int8, llm_int8(0.0F)},
      {"LlmInt8", int8, llm_int8(2.0F)},
      {"LlmInt8OutlierFree", int8, llm_int8(1000.0F)},
  };
  return all;
}

// The same product in separate steps, on a matrix.
Tensor separately(const TensorView& x, const Rule& r, const Operand& weight, const TensorView& bias,
                  DType out, const char* backend = nullptr) {
  ScaledMmOptions o{.bias = bias, .out_dtype = out, .backend = backend};
  if (!r.activation) return scaled_mm(x, weight, o);
  if (!r.activation->vectorwise) {
    const QuantizeSpec& s = r.activation->spec;
    QuantizeOptions how{.dtype = s.dtype,
                        .granularity = s.granularity,
                        .azp = s.azp,
                        .rounding = s.rounding,
                        .scale_dtype = s.scale_dtype};
    const Tensor azp = tensor_of(
        int32, {1, 1}, [&](std::int64_t) { return static_cast<double>(r.activation->static_azp); });
    if (r.activation->static_scale > 0.0F) {
      how.scale = r.activation->static_scale;
      if (s.azp) how.azp_in = azp;
    }
    const Quantized q = quantize(x, how);
    return scaled_mm(q, weight, o);
  }
  const VectorwiseQuant q =
      int8_vectorwise_quant(x, {.threshold = r.activation->outlier_threshold});
  // The weight's scale is absmax / 127: its statistic in bitsandbytes' terms.
  const Tensor statistic = tensor_of(float32, {weight.data.shape[1]}, [&](std::int64_t j) {
    return 127.0 * at(weight.scale[0].data, 0, j);
  });
  return int8_mixed_scaled_mm(x, q.codes, weight.data.transposed(), q.row_absmax, statistic,
                              {.outlier_cols = q.outlier_cols, .bias = bias, .out_dtype = out});
}

class Linear : public testing::TestWithParam<Rule> {
 protected:
  static constexpr std::int64_t kK = 70, kN = 19;
  // Powers of two, so that 127 * scale / 127 is the scale again.
  Tensor scale_ = tensor_of(
      float32, {1, kN}, [](std::int64_t i) { return std::exp2(static_cast<double>(i % 5) - 8.0); });
  Tensor codes_ = integers(GetParam().weight, {kN, kK}, 2, -100, 100);
  Tensor bias_ = gaussians(bfloat16, {kN}, 3);

  Operand weight() const {
    Operand b(codes_.transposed());
    b.scale[0] = {ScaleView::Kind::tensor, 1.0F, scale_.view(), kWholeExtent, 1, 0, 0};
    return b;
  }
  PackedWeight packed() const { return pack(weight(), {.activation = GetParam().activation}); }
};

TEST_P(Linear, IsBitEqualToTheSeparateSteps) {
  for (const DType dtype : {float32, bfloat16, float16}) {
    const Tensor x = gaussians(dtype, {6, kK}, 4, 1.5);
    for (const char* backend : usable_backends()) {
      const Tensor got = linear(x, packed(), {.bias = bias_, .backend = backend});
      EXPECT_EQ(got.dtype(), dtype);
      expect_same_bits(got, separately(x, GetParam(), weight(), bias_, dtype, backend));
    }
    expect_same_bits(linear(x, packed(), {.out_dtype = float32}),
                     separately(x, GetParam(), weight(), {}, float32));
  }
}

TEST_P(Linear, TakesAnyRankAndAnyStrides) {
  const Tensor x = gaussians(float32, {6, kK}, 4, 1.5);
  const Tensor want = linear(x, packed(), {.bias = bias_});
  const auto reshaped = [](const Tensor& t, const Shape& shape) {
    return TensorView(t.data(), t.dtype(), std::span(shape));
  };
  const struct {
    Shape shape, strides;
  } rows[] = {
      {{1, 6, kK}, {900, kK, 1}},
      {{2, 3, kK}, {3 * kK, kK, 1}},
      {{2, 3, kK}, {1, 2, 6}},                        // columns together, rows do not merge
      {{3, 2, kK}, {-2, 6 * kK, 6}},                  // negative
      {{3, 1, 2, 1, kK}, {4 * kK, 7, 2 * kK, 0, 2}},  // strided, with dimensions of one
  };
  for (const auto& row : rows) {
    Shape out_shape = row.shape;
    out_shape.back() = kN;
    const Strided given = strided(reshaped(x, row.shape), row.strides);
    const Tensor got = linear(given.view, packed(), {.bias = bias_});
    expect_same_bits(got, reshaped(want, out_shape));
  }
  if (GetParam().activation && GetParam().activation->spec.granularity != per_token()) return;
  const Tensor first = linear(x.view()[0], packed(), {.bias = bias_});
  EXPECT_EQ(shape_string(first), "[19]");
  if (!GetParam().activation || !GetParam().activation->vectorwise) {
    expect_same_bits(first, want.view()[0]);
  }
}

TEST_P(Linear, WritesASuppliedOutOfAnyStrides) {
  const Tensor x = gaussians(float32, {2, 3, kK}, 4, 1.5);
  const Tensor want = linear(x, packed());
  for (const Shape& strides : {Shape{3 * kN, kN, 1}, Shape{1, 2, 6}, Shape{kN, 200, -1}}) {
    const Strided out = strided(want, strides);
    fill_with_poison(out.view);
    const Tensor got = linear(x, packed(), {.out = out.view});
    EXPECT_EQ(got.data(), out.view.data);
    expect_same_bits(out.view, want);
  }
}

INSTANTIATE_TEST_SUITE_P(Rules, Linear, testing::ValuesIn(rules()),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(LinearBatchInvariant, RowsThatShareWhatIsComputedAreRefused) {
  const Tensor x = gaussians(float32, {6, 70}, 4);
  for (const Rule& r : rules()) {
    const PackedWeight weight =
        pack(integers(r.weight, {70, 5}, 2, -100, 100), {.activation = r.activation});
    const LinearOptions o{.matmul = {.batch_invariant = true}};
    const bool shared = r.activation && !r.activation->vectorwise &&
                        r.activation->static_scale == 0.0F &&
                        scale_grid(r.activation->spec.granularity, Side::a).rows != 1;
    const bool outliers = r.activation && r.activation->outlier_threshold > 0.0F;
    if (shared || outliers) {
      EXPECT_THROW(linear(x, weight, o), Error) << r.name;
      continue;
    }
    const Tensor whole = linear(x, weight, o);
    expect_same_bits(linear(x.view().slice(0, 2, 3), weight, o), whole.view().slice(0, 2, 3));
  }
}

TEST(LinearOutput, MustNotOverlapTheActivations) {
  const Tensor both = gaussians(float32, {4, 4}, 1);
  const PackedWeight weight = pack(integers(int8, {4, 4}, 2));
  expect_error([&] { linear(both, weight, {.out = both}); }, Code::invalid_argument,
               "linear: out must not overlap x (out may be exactly C); got shared memory", true);
}

TEST(LinearOutput, OfNoRowsIsEmpty) {
  const PackedWeight weight = pack(integers(int8, {4, 5}, 2), {.activation = ActivationQuant{}});
  EXPECT_EQ(shape_string(linear(Tensor::empty(bfloat16, {3, 0, 4}), weight)), "[3, 0, 5]");
}

}  // namespace
}  // namespace octavo::test
