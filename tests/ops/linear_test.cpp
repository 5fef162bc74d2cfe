// SPDX-License-Identifier: Apache-2.0
// linear: bit-equal to the separate quantiser followed by scaled_mm, for every rule, rank, stride.
#include "ops/helpers.hpp"

namespace octavo::test::linear_test {
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
ActivationQuant llm_int8(float threshold, bool whole_columns = false,
                         const std::vector<double>& columns = {}) {
  ActivationQuant q;
  q.vectorwise = true;
  q.outlier_threshold = threshold;
  q.whole_columns = whole_columns;
  const auto count = static_cast<std::int64_t>(columns.size());
  if (count > 0) {
    q.outlier_columns = tensor_of(
        int64, {count}, [&](std::int64_t i) { return columns[static_cast<std::size_t>(i)]; });
  }
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
      {"LlmInt8WholeColumns", int8, llm_int8(2.0F, true)},
      {"LlmInt8FixedColumns", int8, llm_int8(0.0F, false, {0, 5, 69})},
      {"LlmInt8FixedAndFound", int8, llm_int8(2.5F, true, {3, 4})},
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
      int8_vectorwise_quant(x, {.threshold = r.activation->outlier_threshold,
                                .whole_columns = r.activation->whole_columns,
                                .outlier_columns = r.activation->outlier_columns});
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
    b.scale[0] = {ScaleKind::tensor, 1.0F, scale_.view(), kWholeExtent, 1, 0, 0};
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

TEST(LinearBatchInvariant, RowsThatShareAScaleAreRefusedAndOthersDependOnNoneBesides) {
  const Tensor x = gaussians(float32, {6, 70}, 4);
  for (const Rule& r : rules()) {
    const PackedWeight weight =
        pack(integers(r.weight, {70, 5}, 2, -100, 100), {.activation = r.activation});
    const bool shared = r.activation && !r.activation->vectorwise &&
                        r.activation->static_scale == 0.0F &&
                        scale_grid(r.activation->spec.granularity, Side::a).rows != 1;
    for (const char* backend : usable_backends()) {
      const LinearOptions o{.matmul = {.batch_invariant = true}, .backend = backend};
      if (shared) {
        EXPECT_THROW(linear(x, weight, o), Error) << r.name;
        continue;
      }
      const Tensor whole = linear(x, weight, o);
      for (std::int64_t begin = 0; begin < 6; ++begin) {
        for (std::int64_t end = begin + 1; end <= 6; ++end) {
          expect_same_bits(linear(x.view().slice(0, begin, end), weight, o),
                           whole.view().slice(0, begin, end));
        }
      }
    }
  }
}

// A row takes its own outliers only: another row's never meet its weights.
TEST(LinearBatchInvariant, ARowMeetsTheWeightsOfItsOwnOutliersAlone) {
  const Tensor x = values(float32, {2, 4}, {1, 9, 2, 3, 1, 2, 3, 4});
  const Tensor original = tensor_of(float32, {4, 5}, [](std::int64_t i) {
    return i / 5 == 1 ? std::numeric_limits<double>::infinity() : 0.5;
  });
  const PackedWeight weight = pack(integers(int8, {4, 5}, 2), {.activation = llm_int8(6.0F)});
  for (const char* backend : usable_backends()) {
    LinearOptions o{.backend = backend, .outlier_weight = original};
    EXPECT_TRUE(std::isnan(float_at(linear(x, weight, o), 0, 0)) ||
                std::isinf(float_at(linear(x, weight, o), 1, 0)));
    o.matmul.batch_invariant = true;
    const Tensor y = linear(x, weight, o);
    EXPECT_TRUE(std::isinf(float_at(y, 0, 0)));
    expect_same_bits(y.view().slice(0, 1, 2), linear(x.view().slice(0, 1, 2), weight));
  }
}

class LinearOutliers : public testing::Test {
 protected:
  Tensor x_ = gaussians(bfloat16, {3, 5, 70}, 1, 1.5);
  Tensor codes_ = integers(int8, {70, 19}, 2, -100, 100);
  Tensor original_ = gaussians(float16, {19, 70}, 3);
};

TEST_F(LinearOutliers, OfACallAreThoseOfARuleWithAllOfThem) {
  const Tensor further = values(int64, {3}, {2, 5, 69});
  for (const float threshold : {0.0F, 3.0F}) {
    const PackedWeight given = pack(codes_, {.activation = llm_int8(threshold, false, {0, 5})});
    const PackedWeight all =
        pack(codes_, {.activation = llm_int8(threshold, false, {0, 2, 5, 69})});
    for (const char* backend : usable_backends()) {
      std::vector<std::int64_t> found{1, 2, 3};
      std::vector<std::int64_t> want;
      const Tensor y = linear(
          x_, given, {.backend = backend, .outlier_columns = further, .found_columns = &found});
      expect_same_bits(y, linear(x_, all, {.backend = backend, .found_columns = &want}));
      EXPECT_EQ(found, want);
      if (threshold == 0.0F) {
        EXPECT_EQ(found, (std::vector<std::int64_t>{0, 2, 5, 69}));
      }
    }
  }
}

TEST_F(LinearOutliers, AreListed) {
  const PackedWeight weight = pack(codes_, {.activation = llm_int8(3.0F)});
  const Tensor want = int8_vectorwise_quant(x_, {.threshold = 3.0F}).outlier_cols;
  for (const bool batch_invariant : {false, true}) {
    std::vector<std::int64_t> found;
    linear(x_, weight, {.matmul = {.batch_invariant = batch_invariant}, .found_columns = &found});
    const auto* first = want.data_as<std::int64_t>();
    EXPECT_EQ(found, std::vector<std::int64_t>(first, first + want.numel()));
  }
  for (const auto& rule : {std::optional<ActivationQuant>(), std::optional(llm_int8(0.0F)),
                           std::optional(ActivationQuant{})}) {
    std::vector<std::int64_t> found{7};
    linear(x_, pack(codes_, {.activation = rule}), {.found_columns = &found});
    EXPECT_TRUE(found.empty());
  }
}

TEST_F(LinearOutliers, MeetTheOriginalWeight) {
  const VectorwiseQuant q = int8_vectorwise_quant(x_, {.threshold = 2.0F});
  const Tensor statistic = tensor_of(float32, {19}, [](std::int64_t) { return 127.0; });
  const Tensor want =
      int8_mixed_scaled_mm(x_, q.codes, codes_.transposed(), q.row_absmax, statistic,
                           {.outlier_cols = q.outlier_cols, .original_weight = original_});
  const Tensor one = values(float32, {1, 1}, {1});
  const PackedWeight weight =
      pack(codes_, {.scale = {one, per_tensor()}, .activation = llm_int8(2.0F)});
  for (const char* backend : usable_backends()) {
    const Tensor row_major = copy(original_.view().transposed(), float16);
    for (const TensorView& w : {original_.view().transposed(), row_major.view()}) {
      expect_same_bits(linear(x_, weight, {.backend = backend, .outlier_weight = w}), want);
    }
  }
}

TEST_F(LinearOutliers, OfARuleAreTheWeightsOwn) {
  ActivationQuant rule = llm_int8(0.0F, false, {1, 9});
  const PackedWeight weight = pack(codes_, {.activation = rule});
  const Tensor want = linear(x_, weight);
  rule.outlier_columns.data_as<std::int64_t>()[1] = 2;
  expect_same_bits(linear(x_, weight), want);
  EXPECT_EQ(weight.activation()->outlier_columns.data_as<std::int64_t>()[1], 9);
}

TEST_F(LinearOutliers, AreExplained) {
  const auto text = [&](const char* words) {
    return explain(parse_problem_line("scaled_mm bf16:int8:bf16 quantize=int8 " +
                                      std::string(words) + " scale=token:channel 3x4x70"))
        .outliers;
  };
  EXPECT_EQ(text(""), "");
  EXPECT_EQ(text("threshold=6"), "columns with an element of 6 and more in any row");
  EXPECT_EQ(text("threshold=6 outliers=whole"),
            "columns with an element of 6 and more in any row, which stay out of row statistics");
  EXPECT_EQ(text("threshold=6 outliers=elements"),
            "elements of 6 and more, each row's own (batch_invariant)");
  EXPECT_EQ(text("outlier_columns=3+4"), "2 fixed columns");
  EXPECT_EQ(text("threshold=6 outlier_columns=3+4"),
            "columns with an element of 6 and more in any row; 2 fixed columns");
  EXPECT_NE(explain(parse_problem_line("scaled_mm bf16:int8:bf16 quantize=int8 threshold=6 "
                                       "scale=token:channel 3x4x70"))
                .to_string()
                .find("outliers   columns with an element of 6 and more in any row\n"),
            std::string::npos);
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
}  // namespace octavo::test::linear_test
