// SPDX-License-Identifier: Apache-2.0
// The C ABI gives the bits of the C++ interface.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <string>
#include <vector>

#include "capi/compare.hpp"
#include "capi/sample.hpp"

namespace octavo::test::equality_test {
namespace {

struct Pair {
  DType a, b;
};

TEST(CApiEquality, ScaledMmOfEveryFamilyWithEverything) {
  for (const Pair pair : {Pair{int8, int8}, Pair{float8_e4m3fn, float8_e5m2},
                          Pair{bfloat16, bfloat16}, Pair{float32, float32}, Pair{float16, int8}}) {
    const Tensor a = random(pair.a, {5, 70}, 1);
    const Tensor b = random(pair.b, {33, 70}, 2);
    const Tensor scale_a = random(float32, {5, 1}, 3);
    const Tensor scale_b = random(float32, {33, 2}, 4);
    const Tensor bias = random(bfloat16, {33}, 5);
    const Tensor c = random(float32, {5, 33}, 6);
    const TensorView groups = scale_b.view().transposed();
    const Tensor want = scaled_mm(a, b,
                                  {.scale_a = {scale_a, per_token()},
                                   .scale_b = {groups, group(64)},
                                   .bias = bias,
                                   .scale_result = 0.75,
                                   .out_dtype = float32,
                                   .alpha = 1.5,
                                   .beta = -0.5,
                                   .c = c,
                                   .trans_b = true});
    const octavo_view views[] = {describe(a),      describe(b),    describe(scale_a),
                                 describe(groups), describe(bias), describe(c)};
    const octavo_operand left = operand_of(&views[0]);
    const octavo_operand right = operand_of(&views[1]);
    octavo_scaled_mm_options o = octavo_scaled_mm_options_init();
    o.scale_a = octavo_scale_tensor(&views[2], OCTAVO_PER_TOKEN);
    o.scale_b = octavo_scale_tensor(&views[3], OCTAVO_GROUP);
    o.scale_b.rows = 64;
    o.bias = &views[4];
    o.scale_result = octavo_scale_number(0.75);
    o.out_dtype = OCTAVO_FLOAT32;
    o.alpha = octavo_scale_number(1.5);
    o.beta = octavo_scale_number(-0.5);
    o.c = &views[5];
    o.flags = OCTAVO_TRANS_B;
    octavo_tensor* y = nullptr;
    const octavo_code code = octavo_scaled_mm(&left, &right, &o, nullptr, &y);
    expect_same_bits(code, y, want);
  }
}

TEST(CApiEquality, MisalignedMemoryAndTransposedOperands) {
  for (const Pair pair : {Pair{int8, int8}, Pair{bfloat16, bfloat16}, Pair{float32, float32}}) {
    const Tensor a = random(pair.a, {7, 40}, 1);
    const Tensor b = random(pair.b, {19, 40}, 2);
    std::vector<char> raw(static_cast<std::size_t>(a.numel() * element_bytes(pair.a)) + 1);
    std::memcpy(raw.data() + 1, a.data(), raw.size() - 1);
    octavo_view left_view = describe(a);
    left_view.data = raw.data();
    left_view.byte_offset = 1;
    const octavo_view right_view = describe(b);
    const octavo_operand left = operand_of(&left_view);
    octavo_operand right = operand_of(&right_view);
    right.flags = OCTAVO_TRANSPOSED;
    octavo_tensor* y = nullptr;
    const octavo_code code = octavo_scaled_mm(&left, &right, nullptr, nullptr, &y);
    expect_same_bits(code, y, scaled_mm(a, b, {.trans_b = true}));
  }
}

TEST(CApiEquality, QuantizersOfEveryOption) {
  const Tensor x = random(bfloat16, {9, 130}, 1);
  const octavo_view view = describe(x);
  struct Case {
    QuantizeOptions cxx;
    octavo_quantize_options c = octavo_quantize_options_init();
  };
  std::vector<Case> cases(4);
  cases[1].cxx = {.dtype = float8_e4m3fn,
                  .granularity = block(4, 64),
                  .scale_ub = 1.0F,
                  .min_scale = 0x1p-9F,
                  .qmax = 200.0F};
  cases[1].c.dtype = OCTAVO_FLOAT8_E4M3FN;
  cases[1].c.granularity = OCTAVO_BLOCK;
  cases[1].c.rows = 4;
  cases[1].c.cols = 64;
  cases[1].c.scale_ub = 1.0F;
  cases[1].c.min_scale = 0x1p-9F;
  cases[1].c.qmax = 200.0;
  cases[2].cxx = {.dtype = uint8, .azp = true};
  cases[2].c.dtype = OCTAVO_UINT8;
  cases[2].c.flags = OCTAVO_AZP;
  cases[3].cxx = {.dtype = float8_e5m2,
                  .granularity = group(32),
                  .rounding = ScaleRounding::power_of_two,
                  .scale_dtype = float8_e8m0fnu};
  cases[3].c.dtype = OCTAVO_FLOAT8_E5M2;
  cases[3].c.granularity = OCTAVO_GROUP;
  cases[3].c.rows = 32;
  cases[3].c.rounding = OCTAVO_ROUNDING_POWER_OF_TWO;
  cases[3].c.scale_dtype = OCTAVO_FLOAT8_E8M0FNU;
  for (const Case& one : cases) {
    const Quantized want = quantize(x, one.cxx);
    octavo_quantized* q = nullptr;
    ASSERT_EQ(octavo_quantize(&view, &one.c, nullptr, &q), OCTAVO_OK) << octavo_last_error();
    octavo_quantized_info parts = octavo_quantized_info_init();
    ASSERT_EQ(octavo_quantized_describe(q, &parts), OCTAVO_OK);
    expect_same_bits(parts.data, want.data);
    expect_same_bits(parts.scale, want.scale);
    if (want.azp.defined()) expect_same_bits(parts.azp, want.azp);
    EXPECT_EQ(parts.grid_rows, want.grid.rows);
    EXPECT_EQ(parts.grid_cols, want.grid.cols);
    octavo_tensor* y = nullptr;
    const octavo_code code = octavo_dequantize(q, OCTAVO_FLOAT16, nullptr, &y);
    expect_same_bits(code, y, dequantize(want, float16));
    octavo_quantized_release(q);
  }
}

TEST(CApiEquality, SlicesBeginInsideACell) {
  const Quantized whole = quantize(random(bfloat16, {6, 10}, 1), {.granularity = block(4, 4)});
  const Tensor part = Tensor::adopt(nullptr, whole.data.view().slice(0, 1, 6).slice(1, 3, 10));
  const octavo_view data = describe(part);
  const octavo_view scale = describe(whole.scale);
  octavo_quantized* q = nullptr;
  ASSERT_EQ(octavo_quantized_create_slice(&data, &scale, nullptr, 4, 4, 1, 3, &q), OCTAVO_OK);
  octavo_tensor* values = nullptr;
  ASSERT_EQ(octavo_dequantize(q, octavo_dtype{}, nullptr, &values), OCTAVO_OK);
  const Tensor want = dequantize(whole);
  octavo_view got;
  ASSERT_EQ(octavo_tensor_view(values, &got), OCTAVO_OK);
  const Tensor expected = copy(want.view().slice(0, 1, 6).slice(1, 3, 10), float32);
  EXPECT_EQ(0, std::memcmp(got.data, expected.data(), sizeof(float) * 5 * 7));
  octavo_quantized_info parts = octavo_quantized_info_init();
  ASSERT_EQ(octavo_quantized_describe(q, &parts), OCTAVO_OK);
  EXPECT_EQ(parts.row0, 1);
  EXPECT_EQ(parts.col0, 3);
  octavo_tensor_release(values);
  octavo_quantized_release(q);
}

TEST(CApiEquality, LinearByEveryRule) {
  const Tensor x = random(bfloat16, {2, 3, 128}, 1);
  const Tensor w = random(bfloat16, {40, 128}, 2);
  const octavo_view x_view = describe(x);
  const TensorView columns = w.view().transposed();
  const Quantized codes = quantize(columns, {.granularity = per_channel(), .side = Side::b});
  const octavo_view data = describe(codes.data);
  const octavo_view scale = describe(codes.scale);
  octavo_quantized* q = nullptr;
  ASSERT_EQ(octavo_quantized_create(&data, &scale, nullptr, codes.grid.rows, codes.grid.cols, &q),
            OCTAVO_OK);
  octavo_operand weight = octavo_operand_init();
  weight.quantized = q;
  struct Rule {
    std::optional<ActivationQuant> cxx;
    octavo_activation c = octavo_activation_init();
  };
  std::vector<Rule> rules(7);
  rules[1].cxx = ActivationQuant{};
  rules[1].cxx->spec.qmax = 100.0F;
  rules[1].c.qmax = 100.0;
  rules[2].cxx = ActivationQuant{};
  rules[2].cxx->vectorwise = true;
  rules[2].cxx->outlier_threshold = 1.5F;
  rules[2].c.flags = OCTAVO_VECTORWISE;
  rules[2].c.outlier_threshold = 1.5F;
  rules[3].cxx = ActivationQuant{};
  rules[3].cxx->spec.granularity = per_tensor();
  rules[3].cxx->spec.azp = true;
  rules[3].cxx->static_scale = 0.02F;
  rules[3].cxx->static_azp = -9;
  rules[3].c.granularity = OCTAVO_PER_TENSOR;
  rules[3].c.flags = OCTAVO_AZP;
  rules[3].c.static_scale = 0.02F;
  rules[3].c.static_azp = -9;
  const std::int64_t fixed[] = {0, 5, 127};
  rules[4].cxx = ActivationQuant{};
  rules[4].cxx->vectorwise = true;
  rules[4].cxx->whole_columns = true;
  rules[4].cxx->outlier_threshold = 2.5F;
  rules[4].cxx->outlier_columns = copy(TensorView(fixed, int64, {3}), int64);
  rules[4].c.flags = OCTAVO_VECTORWISE | OCTAVO_WHOLE_COLUMNS;
  rules[4].c.outlier_threshold = 2.5F;
  rules[4].c.outlier_columns = fixed;
  rules[4].c.outlier_count = 3;
  rules[5].cxx = ActivationQuant{};
  rules[5].cxx->spec.azp = rules[5].cxx->spec.widen = true;
  rules[5].cxx->spec.non_finite = NonFinite::ignore;
  rules[5].c.flags = OCTAVO_AZP | OCTAVO_WIDEN | OCTAVO_NON_FINITE_IGNORE;
  rules[6].cxx = ActivationQuant{};
  rules[6].cxx->rotation = rules[6].c.rotation = 64;
  for (const Rule& rule : rules) {
    const Tensor want = linear(x, pack(codes, {.activation = rule.cxx}));
    octavo_pack_options o = octavo_pack_options_init();
    if (rule.cxx) o.activation = &rule.c;
    octavo_packed* packed = nullptr;
    ASSERT_EQ(octavo_pack(&weight, &o, nullptr, &packed), OCTAVO_OK) << octavo_last_error();
    octavo_tensor* y = nullptr;
    const octavo_code code = octavo_linear(&x_view, packed, nullptr, nullptr, &y);
    expect_same_bits(code, y, want);
    octavo_activation back = octavo_activation_init();
    EXPECT_EQ(octavo_packed_activation(packed, &back),
              rule.cxx ? OCTAVO_OK : OCTAVO_INVALID_ARGUMENT);
    EXPECT_EQ(back.flags, rule.c.flags);
    EXPECT_EQ(back.outlier_threshold, rule.c.outlier_threshold);
    EXPECT_EQ(back.static_scale, rule.c.static_scale);
    EXPECT_EQ(back.static_azp, rule.c.static_azp);
    EXPECT_EQ(back.rotation, rule.c.rotation);
    EXPECT_EQ(back.qmax, rule.c.qmax);
    ASSERT_EQ(back.outlier_count, rule.c.outlier_count);
    for (std::int64_t i = 0; i < back.outlier_count; ++i) {
      EXPECT_EQ(back.outlier_columns[i], fixed[i]);
    }
    octavo_packed_release(packed);
  }
  octavo_quantized_release(q);
}

TEST(CApiEquality, LinearTellsItsOutliers) {
  const Tensor x = random(float32, {4, 64}, 1);
  const Tensor codes = random(int8, {64, 8}, 2);
  const Tensor original = random(bfloat16, {64, 8}, 3);
  const std::int64_t further[] = {3, 60};
  const TensorView columns(further, int64, {2});
  ActivationQuant rule;
  rule.vectorwise = true;
  rule.outlier_threshold = 2.0F;
  std::vector<std::int64_t> wanted;
  const Tensor want =
      linear(x, pack(codes, {.activation = rule}),
             {.outlier_columns = columns, .outlier_weight = original, .found_columns = &wanted});
  const octavo_view views[] = {describe(x), describe(codes), describe(original), describe(columns)};
  octavo_activation c = octavo_activation_init();
  c.flags = OCTAVO_VECTORWISE;
  c.outlier_threshold = 2.0F;
  octavo_pack_options how = octavo_pack_options_init();
  how.activation = &c;
  const octavo_operand weight = operand_of(&views[1]);
  octavo_packed* packed = nullptr;
  ASSERT_EQ(octavo_pack(&weight, &how, nullptr, &packed), OCTAVO_OK) << octavo_last_error();
  std::int64_t found[64];
  std::int64_t count = -1;
  octavo_linear_options o = octavo_linear_options_init();
  o.outlier_columns = &views[3];
  o.outlier_weight = &views[2];
  o.found_columns = found;
  o.found_count = &count;
  octavo_tensor* y = nullptr;
  const octavo_code code = octavo_linear(&views[0], packed, &o, nullptr, &y);
  expect_same_bits(code, y, want);
  EXPECT_EQ(std::vector<std::int64_t>(found, found + count), wanted);
  o.found_count = nullptr;
  EXPECT_EQ(octavo_linear(&views[0], packed, &o, nullptr, &y), OCTAVO_INVALID_ARGUMENT);
  octavo_packed_release(packed);
}

TEST(CApiEquality, Rotate) {
  const Tensor x = random(bfloat16, {5, 256}, 1);
  const octavo_view view = describe(x);
  for (const std::int32_t block : {0, 16, 256}) {  // 0: the default
    octavo_rotate_options o = octavo_rotate_options_init();
    o.block = block;
    o.out_dtype = OCTAVO_FLOAT32;
    octavo_tensor* y = nullptr;
    const octavo_code code = octavo_rotate(&view, &o, nullptr, &y);
    expect_same_bits(code, y, rotate(x, {.block = block == 0 ? 64 : block, .out_dtype = float32}));
  }
}

TEST(CApiEquality, RmsNorm) {
  const Tensor x = random(bfloat16, {5, 96}, 1);
  const Tensor weight = random(float32, {96}, 2);
  const Tensor want_sum = random(bfloat16, {5, 96}, 3);
  const Tensor got_sum = want_sum.to(bfloat16);
  const Tensor want =
      rms_norm(x, {.weight = weight, .epsilon = 1e-5F, .residual = want_sum.view()});
  const octavo_view views[] = {describe(x), describe(weight), describe(got_sum)};
  octavo_rms_norm_options o = octavo_rms_norm_options_init();
  o.weight = &views[1];
  o.residual = &views[2];
  o.epsilon = 1e-5F;
  octavo_tensor* y = nullptr;
  const octavo_code code = octavo_rms_norm(&views[0], &o, nullptr, &y);
  expect_same_bits(code, y, want);
  EXPECT_EQ(std::memcmp(got_sum.view().data, want_sum.view().data, 5 * 96 * 2), 0);
}

TEST(CApiEquality, QuantizedRows) {
  const Tensor x = random(bfloat16, {5, 96}, 1);
  const Tensor weight = random(float32, {96}, 2);
  const Tensor want_sum = random(bfloat16, {5, 96}, 3);
  const Tensor got_sum = want_sum.to(bfloat16);
  const QuantizeOptions rule{.dtype = uint8, .azp = true, .min_scale = 0x1p-9F};
  octavo_quantize_options c = octavo_quantize_options_init();
  c.dtype = OCTAVO_UINT8;
  c.min_scale = 0x1p-9F;
  c.flags = OCTAVO_AZP;
  const octavo_view views[] = {describe(x), describe(weight), describe(got_sum)};
  const auto expect = [](octavo_code code, octavo_quantized* q, const Quantized& want) {
    ASSERT_EQ(code, OCTAVO_OK) << octavo_last_error();
    octavo_quantized_info parts = octavo_quantized_info_init();
    ASSERT_EQ(octavo_quantized_describe(q, &parts), OCTAVO_OK);
    expect_same_bits(parts.data, want.data);
    expect_same_bits(parts.scale, want.scale);
    expect_same_bits(parts.azp, want.azp);
    octavo_quantized_release(q);
  };
  octavo_quantized* q = nullptr;
  octavo_rms_norm_quantize_options norm = octavo_rms_norm_quantize_options_init();
  norm.weight = &views[1];
  norm.residual = &views[2];
  norm.epsilon = 1e-5F;
  norm.quantize = &c;
  octavo_code code = octavo_rms_norm_quantize(&views[0], &norm, nullptr, &q);
  expect(
      code, q,
      rms_norm_quantize(
          x, {.weight = weight, .epsilon = 1e-5F, .residual = want_sum.view(), .quantize = rule}));
  EXPECT_EQ(std::memcmp(got_sum.view().data, want_sum.view().data, 5 * 96 * 2), 0);
  octavo_silu_and_mul_quantize_options silu = octavo_silu_and_mul_quantize_options_init();
  silu.quantize = &c;
  code = octavo_silu_and_mul_quantize(&views[0], &silu, nullptr, &q);
  expect(code, q, silu_and_mul_quantize(x, {.quantize = rule}));
}

TEST(CApiEquality, Attention) {
  const Tensor q = random(bfloat16, {2, 1, 4, 64}, 1);
  const Tensor scales = Tensor::empty(float32, {2, 9, 2});
  std::fill_n(scales.data_as<float>(), 36, 0.01F);
  const Tensor lengths = Tensor::empty(DType::int64, {2});
  lengths.data_as<std::int64_t>()[0] = 9, lengths.data_as<std::int64_t>()[1] = 5;
  for (const DType dtype : {int8, float8_e4m3fn}) {
    const Tensor codes = random(dtype, {2, 9, 2, 64}, 2);
    const Tensor want = attention(q, codes, scales, codes, scales,
                                  {.lengths = lengths, .scale = 0.2F, .window = 4});
    const octavo_view views[] = {describe(q), describe(codes), describe(scales), describe(lengths)};
    octavo_attention_options o = octavo_attention_options_init();
    o.lengths = &views[3];
    o.scale = 0.2F;
    o.window = 4;
    octavo_tensor* y = nullptr;
    const octavo_code code =
        octavo_attention(&views[0], &views[1], &views[2], &views[1], &views[2], &o, nullptr, &y);
    expect_same_bits(code, y, want);
  }
}

TEST(CApiEquality, AFusedQuantizerLeavesItsCodes) {
  const Tensor x = random(float32, {4, 64}, 1);
  const Tensor w = random(int8, {64, 8}, 2);
  const Quantized want = quantize(x);
  const Tensor codes = Tensor::empty(int8, {4, 64});
  const octavo_view x_view = describe(x);
  const octavo_view w_view = describe(w);
  const octavo_view codes_view = describe(codes);
  octavo_activation rule = octavo_activation_init();
  rule.codes = &codes_view;
  octavo_operand a = operand_of(&x_view);
  a.activation = &rule;
  const octavo_operand b = operand_of(&w_view);
  octavo_tensor* y = nullptr;
  const octavo_code code = octavo_scaled_mm(&a, &b, nullptr, nullptr, &y);
  expect_same_bits(code, y, scaled_mm(want, w));
  EXPECT_EQ(0, std::memcmp(codes.data(), want.data.data(), 4 * 64));
}

TEST(CApiEquality, GroupsBatchesAndOutliers) {
  const Tensor a = random(int8, {3, 5, 64}, 1);
  const Tensor b = random(int8, {3, 64, 20}, 2);
  const octavo_view a_view = describe(a);
  const octavo_view b_view = describe(b);
  const octavo_operand left = operand_of(&a_view);
  const octavo_operand right = operand_of(&b_view);
  octavo_tensor* y = nullptr;
  octavo_code code = octavo_grouped_mm(&left, &right, nullptr, nullptr, &y);
  expect_same_bits(code, y, grouped_mm(a, b));
  octavo_scaled_grouped_mm_options o = octavo_scaled_grouped_mm_options_init();
  o.scale = octavo_scale_number(0.3);
  code = octavo_scaled_grouped_mm(&left, &right, &o, nullptr, &y);
  expect_same_bits(code, y, scaled_grouped_mm(a, b, {.scale = 0.3}));

  const Tensor x = random(float16, {6, 64}, 3);
  const Tensor w = random(int8, {20, 64}, 4);
  const Tensor stats = random(float32, {20}, 5);
  const VectorwiseQuant q = int8_vectorwise_quant(x, {.threshold = 1.9F});
  const octavo_view views[] = {describe(x),     describe(q.codes),      describe(w),
                               describe(stats), describe(q.row_absmax), describe(q.outlier_cols)};
  octavo_mixed_scaled_mm_options mixed = octavo_mixed_scaled_mm_options_init();
  mixed.outlier_cols = &views[5];
  code = octavo_int8_mixed_scaled_mm(&views[0], &views[1], &views[2], &views[4], &views[3], &mixed,
                                     nullptr, &y);
  expect_same_bits(
      code, y,
      int8_mixed_scaled_mm(x, q.codes, w, q.row_absmax, stats, {.outlier_cols = q.outlier_cols}));
}

}  // namespace
}  // namespace octavo::test::equality_test
