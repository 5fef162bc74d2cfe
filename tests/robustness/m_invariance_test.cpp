// SPDX-License-Identifier: Apache-2.0
// A row's result does not depend on how many rows are computed with it, packed or not.
#include "ops/helpers.hpp"

namespace octavo::test {
namespace {

constexpr std::int64_t kRows = 160, kN = 37, kK = 70;

struct Pair {
  DType a, b;
};
class MInvariance : public testing::TestWithParam<Pair> {};

TEST_P(MInvariance, RowsOfOneTo160RowsHaveTheSameBits) {
  const Tensor a = gaussians(GetParam().a, {kRows, kK}, 1, 2.0);
  const Tensor b = gaussians(GetParam().b, {kK, kN}, 2, 20.0);
  const Tensor sa = uniforms(float32, {kRows, 1}, 3);
  const Tensor sb = uniforms(float32, {3, kN}, 4);  // groups of 32 along K
  Operand weight(b);
  weight.scale[0] = {ScaleView::Kind::tensor, 1.0F, sb.view(), 32, 1, 0, 0};
  const PackedWeight packed = pack(weight);
  for (const char* backend : usable_backends()) {
    for (const Operand& w : {weight, Operand(packed)}) {
      const auto rows = [&](std::int64_t begin, std::int64_t end) {
        return scaled_mm(
            a.view().slice(0, begin, end), w,
            {.scale_a = sa.view().slice(0, begin, end), .out_dtype = float32, .backend = backend});
      };
      const Tensor whole = rows(0, kRows);
      for (std::int64_t m = 1; m < kRows; ++m) {
        const Tensor first = rows(0, m);
        ASSERT_EQ(std::memcmp(first.data(), whole.data(), static_cast<std::size_t>(m * kN * 4)), 0)
            << m << " rows on " << backend;
      }
      for (std::int64_t i = 0; i < kRows; i += 7) {
        const Tensor alone = rows(i, i + 1);
        ASSERT_EQ(std::memcmp(alone.data(), whole.data_as<float>() + i * kN, kN * 4), 0)
            << "row " << i << " on " << backend;
      }
    }
  }
}

TEST_P(MInvariance, PackingDoesNotChangeBits) {
  const Tensor a = gaussians(GetParam().a, {33, 600}, 1, 2.0);
  const Tensor b = gaussians(GetParam().b, {600, kN}, 2, 20.0);
  const PackedWeight packed = pack(b);
  for (const char* backend : usable_backends()) {
    for (const std::int64_t m : {1, 2, 33}) {
      const TensorView rows = a.view().slice(0, 0, m);
      expect_same_bits(scaled_mm(rows, packed, {.backend = backend}),
                       scaled_mm(rows, b, {.backend = backend}));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Types, MInvariance,
    testing::Values(Pair{float8_e4m3fn, float8_e4m3fn}, Pair{float8_e5m2, float8_e4m3fnuz},
                    Pair{bfloat16, bfloat16}, Pair{float16, float16}, Pair{float32, float32},
                    Pair{bfloat16, int8}, Pair{float16, float8_e4m3fn}, Pair{float32, int8}),
    [](const auto& test) {
      return std::string(name(test.param.a)) + "_" + std::string(name(test.param.b));
    });

TEST(MInvarianceOfLinear, QuantizedActivationsToo) {
  ActivationQuant rule;
  rule.spec.dtype = float8_e4m3fn;
  rule.spec.granularity = group(32);
  const PackedWeight weight =
      pack(gaussians(float8_e4m3fn, {kK, kN}, 1, 20.0), {.activation = rule});
  const Tensor x = gaussians(bfloat16, {kRows, kK}, 2);
  const Tensor whole = linear(x, weight);
  for (std::int64_t m = 1; m < kRows; m += 3) {
    expect_same_bits(linear(x.view().slice(0, 0, m), weight), whole.view().slice(0, 0, m));
  }
}

}  // namespace
}  // namespace octavo::test
