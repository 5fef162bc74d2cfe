// SPDX-License-Identifier: Apache-2.0
// Every pair of operand types, on every backend, with every kind of bias: exact where both are
// integers, within the computed bound of float64 elsewhere.
#include <limits>

#include "kit/oracle/oracle.hpp"
#include "ops/helpers.hpp"
#include "support/lines.hpp"

namespace octavo::test::pairs_test {
namespace {

// Every type that is multiplied.
std::vector<DType> operand_types() {
  std::vector<DType> types;
  for (const DTypeInfo& row : kDTypes) {
    if (is_floating(row.dtype) || is_integer8(row.dtype)) types.push_back(row.dtype);
  }
  return types;
}
const std::vector<DType> kOperands = operand_types();
constexpr std::int64_t kRows = 11, kCols = 70, kDepth = 300;

Tensor operand(DType dtype, const Shape& shape, unsigned seed) {
  if (dtype == int8) return integers(dtype, shape, seed);
  if (dtype == uint8) return integers(dtype, shape, seed, 0, 255);
  return gaussians(dtype, shape, seed);
}

TEST(Pairs, OfEveryTwoTypesStayInsideTheBound) {
  const Tensor scale_a = uniforms(float32, {kRows, 1}, 3);
  const Tensor scale_b = uniforms(float32, {1, kCols}, 4);
  for (const DType a_type : kOperands) {
    for (const DType b_type : kOperands) {
      const Tensor a = operand(a_type, {kRows, kDepth}, 1);
      const Tensor b = operand(b_type, {kDepth, kCols}, 2);
      const Tensor turned = copy(b.transposed(), b_type);
      const bool integer =
          (a_type == int8 || a_type == uint8) && (b_type == int8 || b_type == uint8);
      for (const TensorView& weight : {b.view(), turned.transposed().view()}) {
        const ScaledMmOptions base{.scale_a = {scale_a, per_token()},
                                   .scale_b = {scale_b, per_channel()},
                                   .out_dtype = float32};
        Tensor reference;
        for (const char* backend : {"reference", "generic", "avx512", "avx2"}) {
          ScaledMmOptions o = base;
          const Tensor y = Tensor::empty(float32, {kRows, kCols});
          o.out = y;
          MatmulProblem problem = scaled_mm_problem(a, weight, o);
          const std::vector<std::string> accepting = accepting_backends(problem);
          if (std::find(accepting.begin(), accepting.end(), backend) == accepting.end()) continue;
          run(problem, {}, backend);
          const kit::Verdict verdict = kit::compare_exact(problem);
          EXPECT_LE(verdict.max_ratio, 1.0) << name(a_type) << " @ " << name(b_type) << " on "
                                            << backend << ": " << verdict.worst;
          if (!reference.defined()) reference = y;
          if (integer) expect_same_bits(y, reference);
        }
      }
      EXPECT_EQ(error_bound(scaled_mm_problem(a, b)) == 0.0, integer);
    }
  }
}

// Sums of the largest products of unsigned bytes leave every narrower accumulator first.
TEST(Pairs, OfUnsignedBytesSumExactly) {
  for (const std::int64_t k : {255, 256, 257, 513, 32768, 33025, 33026, 70001}) {
    const Tensor a = integers(uint8, {2, k}, 1, 254, 255);
    const Tensor b = integers(uint8, {k, 3}, 2, 254, 255);
    const Tensor signed_b = integers(int8, {k, 3}, 3, -128, -127);
    for (const char* backend : usable_backends()) {
      for (const TensorView& weight : {b.view(), signed_b.view()}) {
        const ScaledMmOptions o{.out_dtype = float32, .backend = backend};
        const Tensor y = scaled_mm(a, weight, o);
        for (std::int64_t i = 0; i < 2; ++i) {
          for (std::int64_t j = 0; j < 3; ++j) {
            double sum = 0.0;
            for (std::int64_t x = 0; x < k; ++x) sum += at(a, i, x) * at(weight, x, j);
            EXPECT_EQ(float_at(y, i, j), static_cast<float>(sum)) << "K = " << k << ", " << backend;
          }
        }
      }
    }
  }
}

TEST(Pairs, DefaultOutputTypes) {
  EXPECT_EQ(default_out_dtype(uint8, uint8), float32);
  EXPECT_EQ(default_out_dtype(int8, uint8), float32);
  EXPECT_EQ(default_out_dtype(float8_e4m3fn, int8), float32);
  EXPECT_EQ(default_out_dtype(int8, float8_e5m2), float32);
  EXPECT_EQ(default_out_dtype(int8, bfloat16), bfloat16);
  EXPECT_EQ(default_out_dtype(float16, int8), float16);
  EXPECT_EQ(default_out_dtype(int8, float32), float32);
  EXPECT_EQ(default_out_dtype(bfloat16, float32), float32);
  EXPECT_EQ(default_out_dtype(float32, bfloat16), float32);
  EXPECT_EQ(default_out_dtype(float8_e4m3fn, float8_e5m2), bfloat16);
  EXPECT_EQ(default_out_dtype(float16, float16), float16);
  EXPECT_EQ(scaled_mm(operand(int8, {2, 3}, 1), operand(bfloat16, {3, 4}, 2)).dtype(), bfloat16);
}

// [M, 1] and [M, N] take bias's place in the sequence, beside C and scale_result.
TEST(Bias, OfRowsAndOfElements) {
  const Tensor a = operand(int8, {kRows, kDepth}, 1);
  const Tensor b = operand(int8, {kDepth, kCols}, 2);
  const Tensor c = gaussians(float32, {kRows, kCols}, 3);
  const Tensor rows = gaussians(float32, {kRows, 1}, 4, 100.0);
  const Tensor all = gaussians(bfloat16, {kCols, kRows}, 5, 100.0);
  for (const char* backend : usable_backends()) {
    for (const bool with_c : {false, true}) {
      for (const TensorView& bias : {rows.view(), all.transposed().view()}) {
        ScaledMmOptions o{.scale_b = 0.125F,
                          .bias = bias,
                          .scale_result = 0.3F,
                          .out_dtype = float32,
                          .backend = backend};
        if (with_c) {
          o.beta = 0.7F;
          o.c = c;
        }
        const Tensor y = scaled_mm(a, b, o);
        const Tensor sum = scaled_mm(a, b, {.out_dtype = float32, .backend = "reference"});
        for (std::int64_t i = 0; i < kRows; ++i) {
          for (std::int64_t j = 0; j < kCols; ++j) {
            float t = float_at(sum, i, j) * 0.125F;
            if (with_c) t += 0.7F * float_at(c, i, j);
            t += float_at(bias, i, bias.shape[1] == 1 ? 0 : j);
            ASSERT_EQ(float_at(y, i, j), t * 0.3F) << backend;
          }
        }
      }
    }
  }
}

TEST(Bias, OfRowsHasTheSumsOfRowsAsItsGradient) {
  const Tensor a = operand(float32, {kRows, 20}, 1);
  const Tensor b = operand(float32, {20, kCols}, 2);
  const Tensor grad = integers(float32, {kRows, kCols}, 3, -8, 8);
  const MatmulWanted wanted{.bias = true};
  const Tensor rows = gaussians(float32, {kRows, 1}, 4);
  const Tensor of_rows =
      scaled_mm_vjp(grad, a, b, {.bias = rows, .scale_result = 2.0F}, wanted).bias;
  ASSERT_EQ(shape_string(of_rows), "[11, 1]");
  const Tensor all = gaussians(float32, {kRows, kCols}, 5);
  const Tensor of_all = scaled_mm_vjp(grad, a, b, {.bias = all}, wanted).bias;
  for (std::int64_t i = 0; i < kRows; ++i) {
    double sum = 0.0;
    for (std::int64_t j = 0; j < kCols; ++j) {
      sum += at(grad, i, j);
      EXPECT_EQ(at(of_all, i, j), at(grad, i, j));
    }
    EXPECT_EQ(at(of_rows, i, 0), 2.0 * sum);
  }
}

}  // namespace
}  // namespace octavo::test::pairs_test
