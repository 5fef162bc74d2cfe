// SPDX-License-Identifier: Apache-2.0
// Static scales and zero points, compute_scale, dequantize.
#include <algorithm>

#include "quantize/section6.hpp"

namespace octavo::test::static_test {
namespace {

using Static = OnEachBackend;

constexpr std::int64_t kMostInt32 = std::numeric_limits<std::int32_t>::max();

TEST_P(Static, ANumberOrAOneElementTensorScalesEveryElement) {
  const Tensor x = gaussians(float32, {6, 20}, 1, 30.0);
  const Tensor scale = values(float32, {1}, {0.37});
  for (const DType dtype : {float8_e4m3fn, float8_e5m2fnuz, int8}) {
    const Quantized by_number = quantize(x, {.dtype = dtype, .scale = 0.37});
    const Quantized by_tensor =
        quantize(x, {.dtype = dtype, .granularity = per_tensor(), .scale = scale});
    expect_same_bits(by_tensor.data, by_number.data);
    EXPECT_EQ(shape_string(by_number.scale), "[1, 1]");
    EXPECT_EQ(by_number.grid, ScaleGrid{});
    for (std::int64_t i = 0; i < 120; ++i) {
      const float quotient = float_at(x, i) / 0.37F;
      if (is_float8(dtype)) {
        ASSERT_EQ(by_number.data.data_as<std::uint8_t>()[i], nearest_float8(dtype, quotient));
      } else {
        ASSERT_EQ(at(by_number.data, i), nearest_int(int8, std::nearbyint(double{quotient})));
      }
    }
  }
}

TEST_P(Static, TheScaleOfADynamicQuantizationGivesItsCodesAgain) {
  const Tensor x = gaussians(bfloat16, {12, 50}, 2);
  for (const Granularity& g : {per_token(), group(16), block(4, 8), per_k(), per_element()}) {
    for (const bool azp : {false, true}) {
      const Quantized dynamic = quantize(x, {.granularity = g, .azp = azp});
      const Quantized fixed = quantize(
          x, {.granularity = g, .azp = azp, .scale = dynamic.scale, .azp_in = dynamic.azp});
      expect_same_bits(fixed.data, dynamic.data);
      expect_same_bits(fixed.scale, dynamic.scale);
      EXPECT_EQ(fixed.grid, dynamic.grid);
      EXPECT_NE(fixed.scale.data(), dynamic.scale.data());  // its own copy
    }
  }
}

TEST_P(Static, AVectorIsAsGoodAsAColumnAndKeepsItsType) {
  const Tensor x = gaussians(float32, {4, 9}, 3, 4.0);
  const Tensor scale = values(bfloat16, {4}, {0.5, 0.25, 1, 2});
  const Quantized q = quantize(x, {.scale = {scale, per_token()}});
  EXPECT_EQ(q.scale.dtype(), bfloat16);
  EXPECT_EQ(shape_string(q.scale), "[4, 1]");
  for (std::int64_t i = 0; i < 4; ++i) {
    for (std::int64_t j = 0; j < 9; ++j) {
      EXPECT_EQ(at(q.data, i, j),
                nearest_int(int8, std::nearbyint(double{float_at(x, i, j) / float_at(scale, i)})));
    }
  }
}

TEST_P(Static, ZeroPointsShiftAndSaturate) {
  const Tensor x = values(float32, {1, 6}, {0, 1, -1, 200, -200, 0.5});
  const Tensor azp = values(int32, {1}, {100});
  const Quantized q = quantize(x, {.dtype = uint8, .azp = true, .scale = 1.0, .azp_in = azp});
  const double want[] = {100, 101, 99, 255, 0, 100};
  for (std::int64_t i = 0; i < 6; ++i) EXPECT_EQ(at(q.data, i), want[i]);
}

TEST_P(Static, ZeroPointsMayBeAnyInt32) {
  const Tensor x = values(float32, {1, 6}, {0, 1, -1, -1e7, -2147483648.0, -4e9});
  for (const std::int64_t zero : {std::int64_t{1} << 21, std::int64_t{10000000}, kMostInt32}) {
    const Tensor azp = values(int32, {1}, {static_cast<double>(zero)});
    const Quantized q = quantize(x, {.dtype = uint8, .azp = true, .scale = 1.0, .azp_in = azp});
    for (std::int64_t i = 0; i < 6; ++i) {
      const double rounded = std::max(at(x, i), -2147483648.0);
      EXPECT_EQ(at(q.data, i), std::clamp(rounded + static_cast<double>(zero), 0.0, 255.0));
    }
  }
}

TEST_P(Static, ComputeScaleIsQuantizeWithoutCodes) {
  const Tensor x = gaussians(float32, {7, 33}, 4);
  for (const bool azp : {false, true}) {
    const QuantizeOptions o{.granularity = group(8), .azp = azp};
    const Quantized whole = quantize(x, o);
    const Quantized only = compute_scale(x, o);
    EXPECT_FALSE(only.data.defined());
    expect_same_bits(only.scale, whole.scale);
    if (azp) expect_same_bits(only.azp, whole.azp);
    EXPECT_EQ(only.grid, whole.grid);
  }
}

TEST_P(Static, DequantizeIsCodesLessZeroPointTimesScaleConvertedOnce) {
  const Tensor x = gaussians(float32, {7, 33}, 5, 3.0);
  for (const DType dtype : {int8, uint8, float8_e4m3fn, float8_e5m2}) {
    for (const Granularity& g : {per_tensor(), per_token(), group(8), block(4, 16)}) {
      const bool azp = dtype == uint8;
      const Quantized q = quantize(x, {.dtype = dtype, .granularity = g, .azp = azp});
      for (const DType out : {float32, bfloat16, float16}) {
        const Tensor got = dequantize(q, out);
        const Tensor want = tensor_of(out, {7, 33}, [&](std::int64_t n) {
          const std::int64_t i = n / 33;
          const std::int64_t j = n % 33;
          const std::int64_t row = i / q.grid.rows;
          const std::int64_t col = j / q.grid.cols;
          float value = float_at(q.data, i, j);
          if (azp) value -= float_at(q.azp, row, col);
          return static_cast<double>(value * float_at(q.scale, row, col));
        });
        expect_same_bits(got, want);
      }
    }
  }
}

// Within half a step everywhere, and the identity on codes.
TEST_P(Static, RoundTripStaysWithinHalfAStep) {
  const Tensor x = gaussians(float32, {9, 64}, 6);
  for (const bool azp : {false, true}) {
    const Quantized q = quantize(x, {.granularity = per_token(), .azp = azp});
    const Tensor back = dequantize(q);
    for (std::int64_t i = 0; i < 9; ++i) {
      const double step = at(q.scale, i);
      for (std::int64_t j = 0; j < 64; ++j) {
        // The zero point is rounded as well, which costs another half a step at the ends.
        EXPECT_LE(std::abs(at(back, i, j) - at(x, i, j)), step * (azp ? 1.001 : 0.501));
      }
    }
  }
  const Tensor codes = integers(int8, {4, 10}, 7, -127, 127);
  const Quantized again = quantize(copy(codes, float32), {.scale = 1.0});
  expect_same_bits(again.data, codes);
}

TEST_P(Static, TheQuantizedOperandMultipliesAsItsDequantizedValues) {
  const Tensor x = gaussians(float32, {5, 40}, 8);
  const Tensor y = gaussians(float32, {40, 6}, 9);
  const Quantized a = quantize(x, {.dtype = uint8, .azp = true});
  const Quantized b = quantize(y, {.granularity = block(16, 2), .side = Side::b});
  const Tensor xa = dequantize(a);
  const Tensor yb = dequantize(b);
  expect_near(
      scaled_mm(a, b), 40, [&](std::int64_t i, std::int64_t j) { return dot(xa, yb, i, j); }, 40);
}

INSTANTIATE_TEST_SUITE_P(Backends, Static, testing::ValuesIn(usable_backends()), backend_name);

}  // namespace
}  // namespace octavo::test::static_test
