// SPDX-License-Identifier: Apache-2.0
// rms_norm_quantize and silu_and_mul_quantize against the two calls that they stand for, bit for
// bit.
#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "octavo/moe.hpp"
#include "octavo/norm.hpp"
#include "ops/helpers.hpp"

namespace octavo::test::quantized_rows_test {
namespace {

constexpr DType kTypes[] = {DType::float32, DType::bfloat16, DType::float16};
constexpr const char* kBackends[] = {nullptr, "reference"};

void expect_same(const Quantized& got, const Quantized& want) {
  expect_same_bits(got.data, want.data);
  expect_same_bits(got.scale, want.scale);
  EXPECT_EQ(got.grid, want.grid);
  ASSERT_EQ(got.azp.defined(), want.azp.defined());
  if (want.azp.defined()) expect_same_bits(got.azp, want.azp);
}

// Rules whose rows have scales of their own, given ones or shared ones; for [rows, columns].
std::vector<QuantizeOptions> rules(std::int64_t rows, std::int64_t columns) {
  static const Tensor kScales = uniforms(DType::float32, {512, 1}, 7);
  const TensorView scales = kScales.view().slice(0, 0, rows);
  constexpr DType kE4m3 = DType::float8_e4m3fn;
  std::vector<QuantizeOptions> all;
  for (const DType dtype : {DType::int8, kE4m3, DType::float8_e5m2}) {
    all.push_back({.dtype = dtype});
    all.push_back({.dtype = dtype, .granularity = per_tensor()});
    all.push_back({.dtype = dtype, .granularity = per_channel(), .side = Side::b});
    all.push_back({.dtype = dtype, .granularity = per_tensor(), .scale = Scale(0.01F)});
    all.push_back({.dtype = dtype, .non_finite = NonFinite::ignore});
    all.push_back({.dtype = dtype, .scale = scales});
    if (columns > 0) {
      all.push_back(
          {.dtype = dtype, .granularity = group(32), .rounding = ScaleRounding::power_of_two});
      all.push_back({.dtype = dtype, .granularity = block(4, 32)});
    }
  }
  all.push_back({.dtype = kE4m3, .scale_ub = 1.5F, .overflow = Overflow::ieee});
  all.push_back({.azp = true});
  all.push_back({.dtype = DType::uint8, .azp = true, .widen = true});
  static const Tensor kZeroPoint = integers(DType::int32, {1}, 1, -9, -9);
  all.push_back({.granularity = per_tensor(),
                 .azp = true,
                 .scale = Scale(0.02F),
                 .azp_in = kZeroPoint.view()});
  return all;
}

// Gaussians with rows of zeros, a NaN and an infinity among them.
Tensor rows_of(DType dtype, std::int64_t rows, std::int64_t columns, unsigned seed) {
  const Tensor x = gaussians(dtype, {rows, columns}, seed, 4.0);
  if (columns == 0) return x;
  for (std::int64_t j = 0; rows > 1 && j < columns; ++j) kit::store(x, columns + j, 0.0);
  if (rows > 3) {
    kit::store(x, 2 * columns, std::numeric_limits<double>::quiet_NaN());
    kit::store(x, 3 * columns + columns / 2, -std::numeric_limits<double>::infinity());
  }
  return x;
}

class QuantizedRows : public testing::TestWithParam<std::int64_t> {};

TEST_P(QuantizedRows, AreTheTwoCalls) {
  const std::int64_t columns = GetParam();
  for (const std::int64_t rows : {0, 1, 5, 37}) {
    for (const DType dtype : kTypes) {
      const Tensor x = rows_of(dtype, rows, columns, 1);
      const Tensor residual = gaussians(dtype, {rows, columns}, 2);
      const Tensor weight = gaussians(rows % 2 == 0 ? dtype : DType::float32, {columns}, 3);
      const Tensor gated = rows_of(dtype, rows, 2 * columns, 4);
      const Tensor activated = silu_and_mul(gated);
      const Tensor want_sum = residual.to(dtype);
      const Tensor normed = rms_norm(x, {.weight = weight, .residual = want_sum.view()});
      const Tensor plain = rms_norm(x);
      const Strided apart = strided(x, {-1, rows + 3});
      const Strided gated_apart = strided(gated, {2 * columns + 5, 1});
      for (const QuantizeOptions& rule : rules(rows, columns)) {
        const Quantized want = quantize(normed, rule);
        const Quantized want_activated = quantize(activated, rule);
        for (const char* backend : kBackends) {
          const Tensor sum = residual.to(dtype);
          expect_same(
              rms_norm_quantize(
                  x,
                  {.weight = weight, .residual = sum.view(), .quantize = rule, .backend = backend}),
              want);
          expect_same_bits(sum, want_sum);
          expect_same(silu_and_mul_quantize(gated, {.quantize = rule, .backend = backend}),
                      want_activated);
        }
        expect_same(rms_norm_quantize(apart.view, {.quantize = rule}), quantize(plain, rule));
        expect_same(silu_and_mul_quantize(gated_apart.view, {.quantize = rule}), want_activated);
        if (HasFailure()) FAIL() << name(dtype) << ' ' << rows << ' ' << columns;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Columns, QuantizedRows, testing::Values(0, 1, 33, 2050));

TEST(QuantizedRows, ThreadsAndBlocksDoNotMatter) {
  const Tensor x = gaussians(DType::bfloat16, {3, 100, 640}, 1);
  const Tensor want_rows = rms_norm(x);
  TensorView matrix = want_rows.view();
  matrix.rank = 2, matrix.shape = {300, 640}, matrix.strides = {640, 1};
  for (const QuantizeOptions& rule : rules(300, 640)) {
    const Quantized want = quantize(matrix, rule);
    for (const int threads : {1, 2, 3}) {
      ThreadExecutor executor(threads);
      expect_same(rms_norm_quantize(x, {.quantize = rule}, {.executor = &executor}), want);
    }
  }
}

// A workspace of the caller takes the rows between.
TEST(QuantizedRows, TakesTheCallersWorkspace) {
  const Tensor x = gaussians(DType::float32, {64, 512}, 1);
  std::vector<char> memory(64 * 512 * 4 + 4096);
  const Workspace workspace{memory.data(), memory.size()};
  for (const QuantizeOptions& rule : rules(64, 512)) {
    expect_same(rms_norm_quantize(x, {.quantize = rule}, {.workspace = &workspace}),
                quantize(rms_norm(x), rule));
  }
}

}  // namespace
}  // namespace octavo::test::quantized_rows_test
