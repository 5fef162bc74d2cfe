// SPDX-License-Identifier: Apache-2.0
// LLM.int8(), section 8 of the specification to the bit by a scalar loop.
#include "ops/helpers.hpp"

namespace octavo::test::llm_int8_test {
namespace {

struct Expected {
  std::vector<float> absmax;
  std::vector<std::int8_t> codes;
  std::vector<std::int64_t> columns;
};

std::vector<std::int64_t> listed(const TensorView& columns) {
  std::vector<std::int64_t> list;
  for (std::int64_t i = 0; i < columns.shape[0]; ++i) {
    list.push_back(static_cast<const std::int64_t*>(columns.data)[i]);
  }
  return list;
}

// Statistics and codes of the rows of x, element by element.
Expected expected(const TensorView& x, const VectorwiseOptions& o) {
  Expected e;
  const std::int64_t rows = x.shape[0];
  const std::int64_t cols = x.shape[1];
  const auto outlier = [&](float v) { return o.threshold > 0.0F && std::abs(v) >= o.threshold; };
  const std::vector<std::int64_t> fixed = listed(o.outlier_columns);
  std::vector<bool> zero(static_cast<std::size_t>(cols));  // columns of code 0
  std::vector<bool> apart = zero;                          // and of no statistics
  for (std::int64_t c = 0; c < cols; ++c) {
    const auto column = static_cast<std::size_t>(c);
    bool found = false;
    for (std::int64_t r = 0; r < rows; ++r) found = found || outlier(float_at(x, r, c));
    const bool given = std::count(fixed.begin(), fixed.end(), c) != 0;
    zero[column] = given || (found && !o.by_element);
    apart[column] = given || (found && o.whole_columns && !o.by_element);
    if (found || given) e.columns.push_back(c);
  }
  for (std::int64_t r = 0; r < rows; ++r) {
    float most = 0.0F;
    bool shows = false;  // a NaN, or an infinity that is no outlier
    for (std::int64_t c = 0; c < cols; ++c) {
      const float v = std::abs(float_at(x, r, c));
      shows = shows || std::isnan(v);
      if (outlier(v) || apart[static_cast<std::size_t>(c)]) continue;
      shows = shows || std::isinf(v);
      if (v > most) most = v;
    }
    if (shows) most = std::numeric_limits<float>::quiet_NaN();
    e.absmax.push_back(most);
    const float factor = most < 0x1p-121F ? 0.0F : 127.0F / most;
    for (std::int64_t c = 0; c < cols; ++c) {
      const float v = float_at(x, r, c);
      const float product = std::clamp(v * factor, -127.0F, 127.0F);
      const bool none = outlier(v) || std::isnan(product) || zero[static_cast<std::size_t>(c)];
      e.codes.push_back(none ? std::int8_t{0} : static_cast<std::int8_t>(std::nearbyintf(product)));
    }
  }
  return e;
}

// Options of every kind, some columns of `count` among them.
std::vector<VectorwiseOptions> all_options(const Tensor& fixed) {
  std::vector<VectorwiseOptions> all;
  for (const float threshold : {0.0F, 2.5F, 5.0F, 1000.0F}) {
    for (const bool whole : {false, true}) {
      for (const bool by_element : {false, true}) {
        for (const bool given : {false, true}) {
          all.push_back({threshold, whole, by_element, given ? fixed.view() : TensorView()});
        }
      }
    }
  }
  return all;
}
Tensor columns_of(std::initializer_list<double> list) {
  return values(int64, {static_cast<std::int64_t>(list.size())}, list);
}

void expect_quantized(const VectorwiseQuant& got, const Expected& want) {
  ASSERT_EQ(got.row_absmax.numel(), static_cast<std::int64_t>(want.absmax.size()));
  for (std::size_t i = 0; i < want.absmax.size(); ++i) {
    const float absmax = got.row_absmax.data_as<float>()[i];
    EXPECT_TRUE(absmax == want.absmax[i] || (std::isnan(absmax) && std::isnan(want.absmax[i])))
        << absmax << " for " << want.absmax[i];
  }
  for (std::size_t i = 0; i < want.codes.size(); ++i) {
    ASSERT_EQ(got.codes.data_as<std::int8_t>()[i], want.codes[i]) << i;
  }
}
void expect_columns(const Tensor& got, const std::vector<std::int64_t>& want) {
  ASSERT_EQ(got.dtype(), int64);
  ASSERT_EQ(got.numel(), static_cast<std::int64_t>(want.size()));
  for (std::size_t i = 0; i < want.size(); ++i) {
    EXPECT_EQ(got.data_as<std::int64_t>()[i], want[i]);
  }
}

class LlmInt8 : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { ::setenv("OCTAVO_BACKEND", GetParam(), 1); }
  void TearDown() override { ::unsetenv("OCTAVO_BACKEND"); }
};

TEST_P(LlmInt8, StatisticsAndCodesAreTheSpecifications) {
  const Tensor fixed = columns_of({0, 7, 8, 300, 600});
  for (const DType dtype : {float32, bfloat16, float16}) {
    const Tensor x = gaussians(dtype, {9, 601}, 1, 2.0);
    for (const VectorwiseOptions& o : all_options(fixed)) {
      const Expected want = expected(x, o);
      const VectorwiseQuant got = int8_vectorwise_quant(x, o);
      expect_quantized(got, want);
      if (o.threshold == 0.0F && !o.outlier_columns.defined()) {
        EXPECT_FALSE(got.outlier_cols.defined());
      } else {
        expect_columns(got.outlier_cols, want.columns);
      }
    }
  }
}

// Panels of columns, their last vectors, and codes that are transposed in blocks of bytes.
TEST_P(LlmInt8, ColumnsThatLieTogetherGiveTheSame) {
  const Tensor fixed = columns_of({1, 2, 15});
  for (const DType dtype : {float32, bfloat16, float16}) {
    for (const Shape& shape :
         {Shape{600, 83}, Shape{64, 64}, Shape{130, 16}, Shape{2, 17}, Shape{513, 70}}) {
      const Tensor turned = gaussians(dtype, {shape[1], shape[0]}, 3, 1.5);
      const TensorView x = turned.view().transposed();
      for (const VectorwiseOptions& o : all_options(fixed)) {
        const Expected want = expected(x, o);
        const VectorwiseQuant got = int8_vectorwise_quant(x, o);
        expect_quantized(got, want);
        if (got.outlier_cols.defined()) expect_columns(got.outlier_cols, want.columns);
      }
    }
  }
}

TEST_P(LlmInt8, WhatIsNoNumberShowsInTheStatistic) {
  const double inf = std::numeric_limits<double>::infinity();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Tensor x = tensor_of(bfloat16, {70, 90}, [=](std::int64_t i) {
    if (i % 213 == 3) return i % 2 == 0 ? inf : -inf;
    if (i / 90 % 3 == 0) return static_cast<double>(i % 13) - 6.0;  // rows of numbers
    return i % 53 == 5 ? nan : static_cast<double>(i % 13) - 6.0;
  });
  const Tensor fixed = columns_of({4, 89});
  for (const VectorwiseOptions& o : all_options(fixed)) {
    for (const TensorView& view : {x.view(), x.view().transposed()}) {
      VectorwiseOptions own = o;
      if (view.shape[1] < 90) own.outlier_columns = {};
      expect_quantized(int8_vectorwise_quant(view, own), expected(view, own));
    }
  }
}

TEST_P(LlmInt8, TheThresholdIsInclusive) {
  const Tensor x = values(float32, {2, 4}, {6, 1, -6, 5.999, 2, 2, 2, 2});
  const VectorwiseQuant q = int8_vectorwise_quant(x, {.threshold = 6.0F});
  expect_columns(q.outlier_cols, {0, 2});
  EXPECT_EQ(q.row_absmax.data_as<float>()[0], 5.999F);
  EXPECT_EQ(q.row_absmax.data_as<float>()[1], 2.0F);
  const int codes[] = {0, 21, 0, 127, 0, 127, 0, 127};
  for (std::size_t i = 0; i < 8; ++i) EXPECT_EQ(q.codes.data_as<std::int8_t>()[i], codes[i]) << i;
}

TEST_P(LlmInt8, WholeColumnsLeaveTheStatisticsOfEveryRow) {
  const Tensor x = values(float32, {2, 3}, {7, 1, 1, 5, 2, 1});
  EXPECT_EQ(int8_vectorwise_quant(x, {.threshold = 6}).row_absmax.data_as<float>()[1], 5.0F);
  const VectorwiseQuant whole = int8_vectorwise_quant(x, {.threshold = 6, .whole_columns = true});
  EXPECT_EQ(whole.row_absmax.data_as<float>()[1], 2.0F);
  EXPECT_EQ(whole.codes.data_as<std::int8_t>()[4], 127);
}

TEST_P(LlmInt8, NoOutliersIsAnEmptyTensorAndThresholdZeroNone) {
  const Tensor x = gaussians(float32, {3, 5}, 1);
  EXPECT_FALSE(int8_vectorwise_quant(x).outlier_cols.defined());
  const Tensor none = int8_vectorwise_quant(x, {.threshold = 100}).outlier_cols;
  EXPECT_TRUE(none.defined());
  EXPECT_EQ(shape_string(none), "[0]");
}

TEST_P(LlmInt8, TinyRowsGetCodeZeroAndLargeOnesDoNotOverflow) {
  const Tensor x =
      values(float32, {4, 2}, {0x1p-122, -0x1p-122, 0x1p-121, -0x1p-122, 3e38, -1.5e38, 0.0, 0.0});
  const VectorwiseQuant q = int8_vectorwise_quant(x);
  const int codes[] = {0, 0, 127, -64, 127, -64, 0, 0};
  for (std::size_t i = 0; i < 8; ++i) EXPECT_EQ(q.codes.data_as<std::int8_t>()[i], codes[i]) << i;
  EXPECT_EQ(q.row_absmax.data_as<float>()[0], 0x1p-122F);
}

TEST_P(LlmInt8, InputsOfAnyRankAndStridesAreQuantizedFromTheirOwnPrecision) {
  const Tensor x = gaussians(bfloat16, {2, 3, 40}, 1, 3.0);
  const TensorView rows(x.data(), bfloat16, {6, 40});
  const Expected want = expected(rows, {.threshold = 4.0F});
  for (const Shape& strides : {Shape{120, 40, 1}, Shape{1, 2, 6}, Shape{-400, 7, 21}}) {
    const Strided given = strided(x, strides);
    const VectorwiseQuant got = int8_vectorwise_quant(given.view, {.threshold = 4.0F});
    EXPECT_EQ(shape_string(got.codes), "[2, 3, 40]");
    EXPECT_EQ(shape_string(got.row_absmax), "[6]");
    expect_quantized(got, want);
    expect_columns(got.outlier_cols, want.columns);
  }
}

TEST_P(LlmInt8, DoubleQuantIsBothDirections) {
  const Tensor fixed = columns_of({0, 21});
  for (const Shape& shape : {Shape{7, 30}, Shape{66, 530}}) {
    const Tensor x = gaussians(float16, shape, 1, 2.0);
    for (const VectorwiseOptions& o : all_options(fixed)) {
      const DoubleQuant got = int8_double_quant(x, o);
      const Expected by_row = expected(x, o);
      const Tensor turned = copy(x.view().transposed(), float16);
      const Expected by_col = expected(turned, {.threshold = o.threshold, .by_element = true});
      expect_quantized({got.row_codes, got.row_absmax, {}}, by_row);
      const std::vector<std::int64_t> zero =
          o.by_element ? listed(o.outlier_columns) : by_row.columns;
      for (std::int64_t c = 0; c < shape[1]; ++c) {
        ASSERT_EQ(got.col_absmax.data_as<float>()[c], by_col.absmax[static_cast<std::size_t>(c)]);
        const bool outlier = std::count(zero.begin(), zero.end(), c) != 0;
        for (std::int64_t r = 0; r < shape[0]; ++r) {
          const auto code = by_col.codes[static_cast<std::size_t>(c * shape[0] + r)];
          ASSERT_EQ(got.col_codes.data_as<std::int8_t>()[r * shape[1] + c], outlier ? 0 : code);
        }
      }
      if (got.outlier_cols.defined()) expect_columns(got.outlier_cols, by_row.columns);
    }
  }
}

// y = (acc * SCA/127 + outliers) * SCB/127 + bias; each step float32, outliers in ascending k.
TEST_P(LlmInt8, TheMixedProductFollowsTheSpecifiedSequence) {
  constexpr std::int64_t m = 6, n = 70, k = 300;
  const Tensor x = gaussians(float32, {m, k}, 1, 2.0);
  const Tensor original = gaussians(bfloat16, {n, k}, 2);
  const VectorwiseQuant w = int8_vectorwise_quant(original);
  const VectorwiseQuant q = int8_vectorwise_quant(x, {.threshold = 6.0F});
  ASSERT_GT(q.outlier_cols.numel(), 0);
  const Tensor bias = gaussians(float16, {n}, 3);
  for (const bool from_original : {false, true}) {
    const Tensor got =
        int8_mixed_scaled_mm(x, q.codes, w.codes, q.row_absmax, w.row_absmax,
                             {.outlier_cols = q.outlier_cols,
                              .bias = bias,
                              .original_weight = from_original ? original.view() : TensorView()});
    EXPECT_EQ(got.dtype(), float32);
    for (std::int64_t i = 0; i < m; ++i) {
      for (std::int64_t j = 0; j < n; ++j) {
        float t = static_cast<float>(exact_dot(q.codes, w.codes.transposed(), i, j));
        float outliers = 0.0F;
        for (std::int64_t c = 0; c < q.outlier_cols.numel(); ++c) {
          const std::int64_t p = q.outlier_cols.data_as<std::int64_t>()[c];
          const float product =
              float_at(x, i, p) * float_at(from_original ? original : w.codes, j, p);
          outliers += product;
        }
        t *= float_at(q.row_absmax, i) / 127.0F;
        if (!from_original) t += outliers;
        t *= float_at(w.row_absmax, j) / 127.0F;
        if (from_original) t += outliers;
        t += float_at(bias, j);
        ASSERT_EQ(float_at(got, i, j), t) << i << ' ' << j;
      }
    }
  }
}

TEST_P(LlmInt8, EmptyAndUndefinedOutlierColumnsAreTheSame) {
  const Tensor x = gaussians(float16, {2, 8}, 1);
  const Tensor codes = integers(int8, {2, 8}, 2);
  const Tensor w = integers(int8, {3, 8}, 3);
  const Tensor sa = uniforms(float32, {2}, 4);
  const Tensor sb = uniforms(float32, {3}, 5);
  const Tensor undefined = int8_mixed_scaled_mm(x, codes, w, sa, sb);
  EXPECT_EQ(undefined.dtype(), float16);
  expect_same_bits(
      int8_mixed_scaled_mm(x, codes, w, sa, sb, {.outlier_cols = Tensor::empty(int64, {0})}),
      undefined);
  expect_same_bits(int8_scaled_mm(codes, w, sa, sb), undefined);
}

TEST_P(LlmInt8, MatmulThenDequantIsTheScaledProduct) {
  const Tensor codes = integers(int8, {2, 3, 50}, 1);
  const Tensor w = integers(int8, {9, 50}, 2);
  const Tensor sa = uniforms(float32, {6}, 3, 1.0, 9.0);
  const Tensor sb = uniforms(float32, {9}, 4, 1.0, 9.0);
  const Tensor bias = gaussians(float32, {9}, 5);
  const Tensor acc = int8_linear_matmul(codes, w);
  EXPECT_EQ(acc.dtype(), int32);
  EXPECT_EQ(shape_string(acc), "[2, 3, 9]");
  for (const DType out : {float16, bfloat16, float32}) {
    const Tensor two_steps = int8_mm_dequant(acc, sa, sb, bias, out);
    expect_same_bits(int8_scaled_mm(codes, w, sa, sb, bias, out), two_steps);
  }
  const Tensor target = Tensor::empty(int32, {2, 3, 9});
  EXPECT_EQ(int8_linear_matmul(codes, w, target).data(), target.data());
  expect_same_bits(target, acc);
}

TEST_P(LlmInt8, OutIsHonouredWithAnyStrides) {
  const Tensor x = gaussians(float32, {2, 3, 20}, 1, 3.0);
  const Tensor w = integers(int8, {5, 20}, 2);
  const Tensor sb = uniforms(float32, {5}, 3);
  const VectorwiseQuant q = int8_vectorwise_quant(x, {.threshold = 6});
  const MixedScaledMmOptions plain{.outlier_cols = q.outlier_cols};
  const Tensor want = int8_mixed_scaled_mm(x, q.codes, w, q.row_absmax, sb, plain);
  for (const Shape& strides : {Shape{15, 5, 1}, Shape{1, 2, 6}, Shape{-100, 9, -1}}) {
    const Strided out = strided(want, strides);
    fill_with_poison(out.view);
    int8_mixed_scaled_mm(x, q.codes, w, q.row_absmax, sb,
                         {.outlier_cols = q.outlier_cols, .out = out.view});
    expect_same_bits(out.view, want);
  }
}

TEST_P(LlmInt8, DequantIsCodesTimesStatisticOver127) {
  const Tensor codes = integers(int8, {4, 7}, 1);
  const Tensor absmax = uniforms(float32, {4}, 2, 0.1, 9.0);
  const Tensor got = int8_vectorwise_dequant(codes, absmax);
  for (std::int64_t i = 0; i < 4; ++i) {
    const float scale = float_at(absmax, i) / 127.0F;
    for (std::int64_t j = 0; j < 7; ++j) {
      EXPECT_EQ(float_at(got, i, j), float_at(codes, i, j) * scale);
    }
  }
}

TEST_P(LlmInt8, ExtentsOfZero) {
  const VectorwiseQuant none =
      int8_vectorwise_quant(Tensor::empty(float32, {0, 5}), {.threshold = 6});
  EXPECT_EQ(shape_string(none.codes), "[0, 5]");
  EXPECT_EQ(shape_string(none.outlier_cols), "[0]");
  const VectorwiseQuant flat = int8_vectorwise_quant(Tensor::empty(float32, {3, 0}));
  EXPECT_EQ(shape_string(flat.row_absmax), "[3]");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(flat.row_absmax.data_as<float>()[i], 0.0F);
}

INSTANTIATE_TEST_SUITE_P(Backends, LlmInt8, testing::ValuesIn(usable_backends()), backend_name);

}  // namespace
}  // namespace octavo::test::llm_int8_test
