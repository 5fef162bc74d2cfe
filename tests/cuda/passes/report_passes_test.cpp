// SPDX-License-Identifier: Apache-2.0
// What passes tell the host: the first element that is not finite, and what codes lose.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "cuda/passes/two_places.hpp"

namespace octavo::test::report_passes_test {
namespace {

void expect_same_sentence(const TensorView& x) {
  const Tensor there = to_device(x);
  const Status want = reference_passes().check_finite({"quantize", x}, {});
  const Status got = tested().passes->check_finite({"quantize", there}, {});
  EXPECT_EQ(got.ok(), want.ok());
  EXPECT_EQ(got.code(), want.code());
  EXPECT_EQ(got.message(), want.message());
}

TEST(Reports, NamesTheFirstElementThatIsNotFinite) {
  constexpr float kBad[] = {std::numeric_limits<float>::quiet_NaN(),
                            std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity()};
  for (const DType dtype : {bfloat16, float16, float32}) {
    for (const auto& shape : {Shape{0, 4}, {3, 0}, {1, 1}, {9, 1000}, {64, 33}}) {
      for (const int bad : {0, 1, 5}) {
        const Tensor x = gaussians(float32, shape, 7);
        for (int i = 0; i < bad && x.numel() > 0; ++i)
          x.data_as<float>()[(i * 7919 + 700) % x.numel()] = kBad[i % 3];
        const Tensor typed = copy(x, dtype);
        expect_same_sentence(typed);
        expect_same_sentence(typed.transposed());
        expect_same_sentence(strided(typed, {-shape[1] - 3, 1}).view);
      }
    }
  }
}

// A device sums in float64 in another order: n additions of positive numbers. CPUs sum pieces in
// float32, within 18 roundings (kernels/rows/errors_test.cpp).
TEST(Reports, CodeErrors) {
  for (const DType from : {bfloat16, float16, float32}) {
    for (const DType to : {int8, float8_e4m3fn, float8_e5m2}) {
      for (const Granularity& granularity : {per_tensor(), per_token(), group(32), block(16, 24)}) {
        for (const std::int64_t rows : {0, 1, 33}) {
          const Tensor x = gaussians(from, {rows, 310}, 3);
          const Quantized q = quantize(x, {.dtype = to, .granularity = granularity});
          CodeErrors want, got;
          CodeErrorsProblem p{x, q.data, q.scale, q.grid, 100.0F, &want};
          ASSERT_TRUE(reference_passes().code_errors(p, {}).ok());
          const Tensor values = to_device(x), codes = to_device(q.data),
                       scales = to_device(q.scale);
          p = {values, codes, scales, q.grid, 100.0F, &got};
          const Status status = tested().passes->code_errors(p, {});
          ASSERT_TRUE(status.ok()) << status.message();
          const double bound = tested().device.type == DeviceType::cpu
                                   ? 18 * 0x1p-24
                                   : static_cast<double>(2 * x.numel()) * 0x1p-53;
          EXPECT_NEAR(got.signal, want.signal, bound * want.signal);
          EXPECT_NEAR(got.noise, want.noise, bound * want.noise);
          EXPECT_EQ(got.largest, want.largest);
          EXPECT_EQ(got.saturated, want.saturated);
          EXPECT_EQ(got.finite, want.finite);
        }
      }
    }
  }
}

TEST(Reports, CodeErrorsOfWhatIsNotFinite) {
  const Tensor x = gaussians(float32, {3, 40}, 3);
  x.data_as<float>()[50] = std::numeric_limits<float>::infinity();
  const Quantized q = quantize(x, {.dtype = float8_e5m2});
  CodeErrors got;
  const Tensor values = to_device(x), codes = to_device(q.data), scales = to_device(q.scale);
  ASSERT_TRUE(
      tested().passes->code_errors({values, codes, scales, q.grid, 57344.0F, &got}, {}).ok());
  EXPECT_FALSE(got.finite);
}

}  // namespace
}  // namespace octavo::test::report_passes_test
