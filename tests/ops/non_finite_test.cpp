// SPDX-License-Identifier: Apache-2.0
// NaN and infinities must show: whatever quantises on its way into a product, a row of x with one
// gives a row of the result that is not finite throughout, and no other row notices (section 6, 8).
#include <limits>

#include "ops/helpers.hpp"

namespace octavo::test::non_finite_test {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr std::int64_t kRows = 9, kCols = 70, kDepth = 256;

struct Rule {
  const char* name;
  ActivationQuant rule;
  bool whole_tensor = false;  // rows share a computed scale
};

ActivationQuant section6(DType dtype, const Granularity& granularity, bool azp = false,
                         float static_scale = 0.0F) {
  ActivationQuant rule;
  rule.spec.dtype = dtype;
  rule.spec.granularity = granularity;
  rule.spec.azp = azp;
  rule.static_scale = static_scale;
  if (azp && static_scale > 0.0F) rule.static_azp = 3;
  return rule;
}

ActivationQuant llm_int8(float threshold, bool whole, const std::vector<double>& fixed) {
  ActivationQuant rule;
  rule.vectorwise = true;
  rule.outlier_threshold = threshold;
  rule.whole_columns = whole;
  if (!fixed.empty()) {
    rule.outlier_columns = values(int64, {static_cast<std::int64_t>(fixed.size())}, fixed);
  }
  return rule;
}

std::vector<Rule> rules() {
  std::vector<Rule> all;
  for (const DType dtype : {int8, float8_e4m3fn, float8_e5m2, float8_e4m3fnuz}) {
    all.push_back({"token", section6(dtype, per_token())});
    all.push_back({"tensor", section6(dtype, per_tensor()), true});
    all.push_back({"group", section6(dtype, group(64))});
    all.push_back({"static", section6(dtype, per_tensor(), false, 0.05F)});
  }
  all.push_back({"uint8 with zero points", section6(uint8, per_token(), true)});
  all.push_back({"zero points", section6(int8, per_token(), true)});
  all.push_back({"static with a zero point", section6(int8, per_tensor(), true, 0.05F)});
  for (const bool whole : {false, true}) {
    for (const float threshold : {0.0F, 6.0F}) {
      all.push_back({"LLM.int8", llm_int8(threshold, whole, {})});
      all.push_back({"LLM.int8, fixed columns", llm_int8(threshold, whole, {0, 37, 255})});
    }
  }
  return all;
}

bool finite(const Tensor& y, std::int64_t row) {
  for (std::int64_t j = 0; j < kCols; ++j) {
    if (!std::isfinite(y.data_as<float>()[row * kCols + j])) return false;
  }
  return true;
}
bool nowhere_finite(const Tensor& y, std::int64_t row) {
  for (std::int64_t j = 0; j < kCols; ++j) {
    if (std::isfinite(y.data_as<float>()[row * kCols + j])) return false;
  }
  return true;
}

class NonFinite6 : public testing::TestWithParam<const char*> {};

TEST_P(NonFinite6, ElementsOfXShowInTheirRowsAndInNoOther) {
  const Tensor w = gaussians(float32, {kCols, kDepth}, 5);
  const Quantized codes =
      quantize(w.transposed(), {.granularity = per_channel(), .side = octavo::Side::b});
  const Quantized codes8 =
      quantize(w.transposed(),
               {.dtype = float8_e4m3fn, .granularity = per_channel(), .side = octavo::Side::b});
  for (const DType from : {float32, bfloat16, float16}) {
    for (const Rule& r : rules()) {
      const bool integers = r.rule.vectorwise || is_integer8(r.rule.spec.dtype);
      const Quantized& weight = integers ? codes : codes8;
      for (const bool packed : {false, true}) {
        const Operand b = packed ? Operand() : Operand(weight);
        const PackedWeight own = pack(weight, {.activation = r.rule});
        const LinearOptions options{.out_dtype = float32, .backend = GetParam()};
        const auto run = [&](const Tensor& x) {
          return packed ? linear(x, own, options) : linear(x, b, r.rule, options);
        };
        const Tensor clean = gaussians(from, {kRows, kDepth}, 6);
        kit::store(clean, 2 * kDepth + 37, 50.0);  // an outlier column
        const Tensor want = run(clean);
        for (const std::int64_t column : {0, 37, 100, 255}) {
          for (const float value : {kNan, kInf, -kInf}) {
            const std::int64_t row = column % kRows;
            const Tensor x = copy(clean, from);
            kit::store(x, row * kDepth + column, static_cast<double>(value));
            const Tensor y = run(x);
            const std::string what =
                std::string(r.name) + ", " + std::string(name(r.rule.spec.dtype)) + " of " +
                std::string(name(from)) + ", " + std::to_string(value) + " in column " +
                std::to_string(column) + (packed ? ", packed" : "");
            // An outlier is multiplied as it is; a weight of 0 makes a NaN of an infinity.
            EXPECT_TRUE(nowhere_finite(y, row)) << what;
            const bool alone = !r.whole_tensor || !integers;
            for (std::int64_t i = 0; i < kRows; ++i) {
              if (i == row) continue;
              EXPECT_EQ(finite(y, i), alone) << what << ", row " << i;
            }
          }
        }
        // Under ignore nothing of an infinity is left but the largest code.
        ActivationQuant ignoring = r.rule;
        ignoring.spec.non_finite = NonFinite::ignore;
        if (integers && !r.rule.vectorwise) {
          const Tensor x = copy(clean, from);
          kit::store(x, kDepth + 5, static_cast<double>(kInf));
          kit::store(x, kDepth + 9, static_cast<double>(kNan));
          EXPECT_TRUE(finite(linear(x, weight, ignoring, options), 1)) << r.name;
        }
        EXPECT_TRUE(finite(want, 0));
      }
    }
  }
}

TEST_P(NonFinite6, RowsOfWeightsShowInTheirColumns) {
  const Tensor x = gaussians(float32, {kRows, kDepth}, 6);
  for (const float value : {kNan, kInf}) {
    const Tensor w = gaussians(float32, {kCols, kDepth}, 5);
    w.data_as<float>()[33 * kDepth + 200] = value;
    for (const DType dtype : {int8, float8_e4m3fn}) {
      const Quantized codes = quantize(
          w.transposed(), {.dtype = dtype, .granularity = per_channel(), .side = octavo::Side::b});
      const Tensor y = linear(x, codes, section6(dtype, per_token()),
                              {.out_dtype = float32, .backend = GetParam()});
      for (std::int64_t i = 0; i < kRows; ++i) {
        for (std::int64_t j = 0; j < kCols; ++j) {
          EXPECT_EQ(std::isfinite(y.data_as<float>()[i * kCols + j]), j != 33) << name(dtype);
        }
      }
    }
    const VectorwiseQuant rows = int8_vectorwise_quant(w);
    for (std::int64_t j = 0; j < kCols; ++j) {
      EXPECT_EQ(std::isfinite(rows.row_absmax.data_as<float>()[j]), j != 33);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, NonFinite6, testing::ValuesIn(usable_backends()), backend_name);

// LLM.int8's statistics by row and by column, from rows and from columns that lie together.
TEST(NonFinite8, StatisticsOfRowsAndColumns) {
  for (const DType from : {float32, bfloat16, float16}) {
    for (const float threshold : {0.0F, 6.0F}) {
      for (const float value : {kNan, kInf, 50.0F}) {
        const Tensor a = gaussians(from, {40, 90}, 3);
        kit::store(a, 7 * 90 + 11, static_cast<double>(value));
        const bool outlier = threshold > 0.0F && !std::isnan(value);
        const bool shows = !outlier && !std::isfinite(value);
        const Tensor turned = copy(a.transposed(), from);  // the same numbers, columns together
        for (const TensorView& view : {a.view(), turned.transposed().view()}) {
          const DoubleQuant q = int8_double_quant(view, {.threshold = threshold});
          for (std::int64_t i = 0; i < 40; ++i) {
            EXPECT_EQ(std::isnan(q.row_absmax.data_as<float>()[i]), shows && i == 7)
                << name(from) << ' ' << threshold << ' ' << value << ", row " << i;
          }
          for (std::int64_t j = 0; j < 90; ++j) {
            EXPECT_EQ(std::isnan(q.col_absmax.data_as<float>()[j]), shows && j == 11)
                << name(from) << ' ' << threshold << ' ' << value << ", column " << j;
          }
          if (!shows) continue;
          for (std::int64_t j = 0; j < 90; ++j) {
            EXPECT_EQ(q.row_codes.data_as<std::int8_t>()[7 * 90 + j], 0);
          }
        }
      }
    }
  }
}

// An overflowed gradient must not pass for a number: GradScaler looks for it in the weight's.
TEST(NonFinite8, GradientsOfTheWeightShowWhatOverflowed) {
  const Tensor w = gaussians(float32, {kCols, kDepth}, 5);
  const Quantized codes =
      quantize(w.transposed(), {.granularity = per_channel(), .side = octavo::Side::b});
  const MatmulWanted wanted{.a = true, .b = true};
  for (const float threshold : {0.0F, 6.0F}) {
    for (const float value : {kNan, kInf}) {
      const Tensor x = gaussians(float32, {kRows, kDepth}, 6);
      const Tensor grad = gaussians(float32, {kRows, kCols}, 7);
      kit::store(x, 3, 50.0);
      const ActivationQuant rule = llm_int8(threshold, false, {});
      kit::store(grad, 4 * kCols + 21, static_cast<double>(value));
      const MatmulGradients g = linear_vjp(grad, x, codes, rule, {}, wanted);
      // [K, N] over [N, K] memory: column 21 is a row of memory.
      for (std::int64_t k = 0; k < kDepth; ++k) {
        for (std::int64_t n : {0, 21, 69}) {
          EXPECT_EQ(std::isfinite(at(g.b, k, n)), n != 21) << threshold << ' ' << value;
        }
      }
      for (std::int64_t k = 0; k < kDepth; ++k) {
        EXPECT_FALSE(std::isfinite(at(g.a, 4, k)));
        EXPECT_TRUE(std::isfinite(at(g.a, 3, k)));
      }
    }
  }
}

}  // namespace
}  // namespace octavo::test::non_finite_test
