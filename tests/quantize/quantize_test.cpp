// SPDX-License-Identifier: Apache-2.0
// Dynamic quantisation to the bit: every type, granularity, side, stride and rounding.
#include "quantize/section6.hpp"

namespace octavo::test::quantize_test {
namespace {

using Quantizer = OnEachBackend;

const DType kSymmetric[] = {float8_e4m3fn, float8_e4m3fnuz, float8_e5m2, float8_e5m2fnuz, int8};

std::vector<Granularity> granularities(Side side) {
  return {per_tensor(), side == Side::a ? per_token() : per_channel(),
          group(16),    group(1000),
          block(4, 8),  block(128, 128),
          per_k(),      per_element()};
}

// Layouts of an input: row-major, columns together, gaps, reversed.
std::vector<Strided> layouts(const Tensor& x) {
  const std::int64_t rows = x.size(0);
  const std::int64_t cols = x.size(1);
  return {strided(x, {cols, 1}), strided(x, {1, rows}), strided(x, {2 * cols + 3, 2}),
          strided(x, {-1, -rows})};
}

TEST_P(Quantizer, EveryTypeGranularitySideAndLayout) {
  const Tensor x = gaussians(float32, {13, 37}, 1, 3.0);
  for (const Side side : {Side::a, Side::b}) {
    for (const Granularity& granularity : granularities(side)) {
      for (const DType dtype : kSymmetric) {
        const QuantizeOptions o{.dtype = dtype, .granularity = granularity, .side = side};
        SCOPED_TRACE(to_string(granularity) + " " + std::string(name(dtype)));
        for (const Strided& layout : layouts(x)) {
          const Quantized got = quantize(layout.view, o);
          expect_section6(x, o, got);
          if (HasFatalFailure()) return;
          // Codes lie in the stride order of the input.
          const auto& in = layout.view.strides;
          const auto& out = got.data.view().strides;
          EXPECT_EQ(std::abs(in[0]) < std::abs(in[1]), out[0] < out[1]);
        }
      }
    }
  }
}

TEST_P(Quantizer, ZeroPointsOfEveryGranularityAndLayout) {
  const Tensor x = gaussians(float32, {13, 37}, 2, 3.0);
  const Tensor shifted = tensor_of(float32, {13, 37}, [&](std::int64_t i) {
    return at(x, i) + static_cast<double>(i % 9) * 2.0;
  });
  for (const Side side : {Side::a, Side::b}) {
    for (const Granularity& granularity : granularities(side)) {
      for (const DType dtype : {int8, uint8}) {
        const QuantizeOptions o{
            .dtype = dtype, .granularity = granularity, .side = side, .azp = true};
        SCOPED_TRACE(to_string(granularity) + " " + std::string(name(dtype)));
        for (const Strided& layout : layouts(shifted)) {
          expect_section6(shifted, o, quantize(layout.view, o));
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST_P(Quantizer, EveryInputTypeFromItsOwnPrecision) {
  for (const DType from : {float32, bfloat16, float16}) {
    for (const double spread : {1e-4, 1.0, 9000.0}) {
      const Tensor x = gaussians(from, {5, 700}, 3, spread);  // longer than any piece
      for (const DType dtype : kSymmetric) {
        const QuantizeOptions o{.dtype = dtype};
        expect_section6(x, o, quantize(x, o));
      }
    }
  }
}

TEST_P(Quantizer, PowerOfTwoScalesAreRoundedUpBeforeQuantizing) {
  const Tensor x = gaussians(float32, {9, 64}, 4, 5.0);
  for (const DType dtype : kSymmetric) {
    for (const DType scale : {float32, float8_e8m0fnu}) {
      const QuantizeOptions o{.dtype = dtype,
                              .granularity = group(16),
                              .rounding = ScaleRounding::power_of_two,
                              .scale_dtype = scale};
      expect_section6(x, o, quantize(x, o));
    }
  }
  // An absmax whose scale is a power of two already keeps it.
  const Tensor exact = values(float32, {1, 2}, {448.0 * 4, 1});
  const Quantized q =
      quantize(exact, {.dtype = float8_e4m3fn, .rounding = ScaleRounding::power_of_two});
  EXPECT_EQ(at(q.scale, 0), 4.0);
}

TEST_P(Quantizer, MxfpHasGroupsOf32AndE8m0ScalesByTheFloorRule) {
  for (const Side side : {Side::a, Side::b}) {
    const Tensor x = gaussians(bfloat16, {70, 70}, 5, 5.0);
    for (const DType dtype : {float8_e4m3fn, float8_e5m2}) {
      const QuantizeOptions o{.dtype = dtype,
                              .granularity = group(32),
                              .side = side,
                              .rounding = ScaleRounding::mx_floor,
                              .scale_dtype = float8_e8m0fnu};
      expect_section6(x, o, quantize_mxfp8(x, dtype, side));
    }
  }
  // OCP MX 1.0 section 6.3 on one number: 2^(floor(log2 500) - 8) = 1, so that 500 saturates.
  const Quantized q = quantize_mxfp8(values(float32, {1, 1}, {500}));
  EXPECT_EQ(q.scale.data_as<std::uint8_t>()[0], 127);
  EXPECT_EQ(at(q.data, 0), 448.0);
}

TEST_P(Quantizer, ZeroPointsOfConstantAndOneSidedRows) {
  const Tensor x = values(float32, {5, 3}, {0, 0, 0, 5, 5, 5, 2, 3, 4, -2, -3, -4, -1, 0, 254});
  for (const DType dtype : {int8, uint8}) {
    const QuantizeOptions o{.dtype = dtype, .azp = true};
    const Quantized q = quantize(x, o);
    expect_section6(x, o, q);
    const double qmin = dtype == int8 ? -128 : 0;
    EXPECT_EQ(at(q.scale, 0), 1.0);  // zero range: scale 1, azp = qmin, codes = azp
    EXPECT_EQ(at(q.azp, 0), qmin);
    EXPECT_EQ(at(q.data, 0), qmin);
    EXPECT_EQ(at(q.azp, 1), qmin);  // one value: exact
    EXPECT_EQ(float_at(q.scale, 1), 5.0F);
    EXPECT_EQ(at(q.data, 1, 0), qmin + 1);
    EXPECT_EQ(float_at(q.scale, 2), 2.0F / 255.0F);  // all positive: the row's own range
    EXPECT_EQ(at(q.azp, 2), qmin - 255);
    EXPECT_EQ(at(q.azp, 3), qmin + 510);  // all negative
    EXPECT_EQ(at(q.scale, 4), 1.0);
    EXPECT_EQ(at(q.azp, 4), qmin + 1);

    QuantizeOptions widen = o;
    widen.widen = true;
    const Quantized w = quantize(x, widen);
    expect_section6(x, widen, w);
    EXPECT_EQ(at(w.azp, 1), qmin);
    EXPECT_EQ(float_at(w.scale, 1), 5.0F / 255.0F);
    EXPECT_EQ(at(w.azp, 3), qmin + 255);
  }
}

// |s (q - azp) - x| <= s / 2 + 2^-22 max |x| for every row, wherever it lies.
TEST_P(Quantizer, ZeroPointsKeepEveryElementWithinHalfAStep) {
  const auto far = [](double centre, double width, std::int64_t i) {
    return centre + width * std::sin(static_cast<double>(i) * 1.7);
  };
  constexpr std::int64_t kCols = 150;
  const double centres[] = {0.0, 950.0, -950.0, 1e6, -3e7, 1e30, 1e-30, 0x1p-126, 3e38};
  for (const double width : {1.0, 0x1p-4, 0x1p-10, 0x1p-20, 0x1p-24, 0.0}) {
    for (const double centre : centres) {
      const double size = centre == 0.0 ? 1.0 : std::abs(centre) * 0.1;
      const Tensor x = tensor_of(float32, {1, kCols},
                                 [&](std::int64_t i) { return far(centre, width * size, i); });
      for (const DType dtype : {int8, uint8}) {
        const QuantizeOptions o{.dtype = dtype, .azp = true};
        const Quantized q = quantize(x, o);
        expect_section6(x, o, q);
        const double s = at(q.scale, 0), azp = at(q.azp, 0);
        double most = 0.0;
        for (std::int64_t i = 0; i < kCols; ++i) most = std::max(most, std::abs(at(x, i)));
        for (std::int64_t i = 0; i < kCols; ++i) {
          ASSERT_LE(std::abs(s * (at(q.data, i) - azp) - at(x, i)), s / 2 + 0x1p-22 * most)
              << "centre " << centre << ", width " << width;
        }
      }
    }
  }
}

TEST_P(Quantizer, UpperAndLowerBoundsOfTheScale) {
  const Tensor x = gaussians(float32, {6, 40}, 6, 10.0);
  for (const DType dtype : kSymmetric) {
    QuantizeOptions o{.dtype = dtype, .scale_ub = 5.0F};
    expect_section6(x, o, quantize(x, o));
    EXPECT_EQ(at(quantize(x, o).scale, 0),
              static_cast<double>(5.0F / static_cast<float>(aim(dtype))));
    o = {.dtype = dtype, .min_scale = 3.0F};
    expect_section6(x, o, quantize(x, o));
    EXPECT_EQ(at(quantize(x, o).scale, 0), 3.0);
  }
  const QuantizeOptions affine{.azp = true, .min_scale = 3.0F};
  const Tensor zeros = values(float32, {1, 3}, {0, -0.0, 0});
  for (const ScaleRounding rounding : {ScaleRounding::none, ScaleRounding::power_of_two}) {
    const Quantized q = quantize(zeros, {.min_scale = 0.3F, .rounding = rounding});
    EXPECT_EQ(float_at(q.scale, 0), rounding == ScaleRounding::none ? 0.3F : 0.5F);
  }
  expect_section6(x, affine, quantize(x, affine));
}

TEST_P(Quantizer, ScalesAimAtTheMagnitudeAskedFor) {
  const Tensor x = gaussians(float32, {6, 40}, 8, 10.0);
  for (const DType dtype : kSymmetric) {
    for (const Granularity& granularity : {per_tensor(), per_token(), group(16), block(4, 8)}) {
      const QuantizeOptions o{.dtype = dtype, .granularity = granularity, .qmax = 56.0F};
      const Quantized q = quantize(x, o);
      expect_section6(x, o, q);
      double most = 0.0;
      for (std::int64_t i = 0; i < q.data.numel(); ++i) {
        most = std::max(most, std::abs(at(q.data, i)));
      }
      EXPECT_EQ(most, 56.0);
    }
  }
}

TEST_P(Quantizer, RowsOfZerosGetScaleOneAndCodesZero) {
  const Tensor x = Tensor::empty(float32, {3, 40});
  std::memset(x.data(), 0, 480);
  for (const DType dtype : kSymmetric) {
    const Quantized q = quantize(x, {.dtype = dtype});
    for (std::int64_t i = 0; i < 3; ++i) EXPECT_EQ(at(q.scale, i), 1.0);
    for (const std::uint8_t byte : bytes_of(q.data)) ASSERT_EQ(byte, 0);
  }
}

TEST_P(Quantizer, TinyNumbersKeepTheScaleNormal) {
  for (const double tiny : {0x1p-149, 0x1p-130, 0x1p-126, 0x1p-120, 0x1.8p-118}) {
    const Tensor x = values(float32, {1, 3}, {tiny, -tiny / 2, 0});
    for (const DType dtype : kSymmetric) {
      for (const ScaleRounding rounding : {ScaleRounding::none, ScaleRounding::power_of_two}) {
        const QuantizeOptions o{.dtype = dtype, .rounding = rounding};
        expect_section6(x, o, quantize(x, o));
        EXPECT_GE(at(quantize(x, o).scale, 0), 0x1p-126);
      }
      if (!is_float8(dtype)) continue;
      const QuantizeOptions mx{.dtype = dtype, .rounding = ScaleRounding::mx_floor};
      expect_section6(x, mx, quantize(x, mx));
    }
    const QuantizeOptions affine{.azp = true};
    expect_section6(x, affine, quantize(x, affine));
  }
}

TEST_P(Quantizer, HugeNumbersDoNotOverflow) {
  const double most = static_cast<double>(std::numeric_limits<float>::max());
  const Tensor x = values(float32, {1, 2}, {most, -most});
  for (const DType dtype : kSymmetric) {
    const QuantizeOptions o{.dtype = dtype};
    const Quantized q = quantize(x, o);
    expect_section6(x, o, q);
    EXPECT_EQ(at(q.data, 0), aim(dtype));
  }
  const Quantized affine = quantize(x, {.dtype = uint8, .azp = true});  // max - min overflows
  EXPECT_TRUE(std::isfinite(float_at(affine.scale, 0)));
  EXPECT_EQ(at(affine.data, 0), 255.0);
  EXPECT_EQ(at(affine.data, 1), 0.0);
}

TEST_P(Quantizer, NonFiniteNumbersShow) {
  const double inf = static_cast<double>(INFINITY);
  const double nan = std::nan("");
  const Tensor x = values(
      float32, {4, 4}, {1, nan, -2, inf, -inf, 4, inf, nan, 0.25, -1, 0.5, 1, -inf, -3, 8, -inf});
  for (const NonFinite rule : {NonFinite::propagate, NonFinite::ignore}) {
    for (const DType dtype : kSymmetric) {
      const QuantizeOptions o{.dtype = dtype, .non_finite = rule};
      const Quantized q = quantize(x, o);
      expect_section6(x, o, q);
      if (is_float8(dtype)) {
        EXPECT_EQ(float_at(q.scale, 0), 2.0F / static_cast<float>(aim(dtype)));
        EXPECT_TRUE(std::isnan(at(q.data, 0, 1)));
        const double infinite = at(q.data, 0, 3);
        if (dtype == float8_e5m2) {
          EXPECT_EQ(infinite, inf);
        } else if (rule == NonFinite::ignore) {
          EXPECT_EQ(infinite, aim(dtype));
        } else {
          EXPECT_TRUE(std::isnan(infinite));
        }
      } else {
        EXPECT_EQ(std::isnan(at(q.scale, 0)), rule == NonFinite::propagate);
        EXPECT_EQ(at(q.data, 0, 3), rule == NonFinite::propagate ? 0.0 : 127.0);
        EXPECT_EQ(at(q.scale, 2), static_cast<double>(1.0F / 127.0F));  // no business of its own
      }
    }
    for (const DType dtype : {int8, uint8}) {
      for (const bool widen : {false, true}) {
        const QuantizeOptions affine{
            .dtype = dtype, .azp = true, .non_finite = rule, .widen = widen};
        expect_section6(x, affine, quantize(x, affine));
      }
    }
  }
  const Tensor only = values(float32, {1, 2}, {inf, nan});
  EXPECT_EQ(at(quantize(only, {.dtype = float8_e4m3fn}).scale, 0), 1.0);
  EXPECT_TRUE(std::isnan(at(quantize(only, {}).scale, 0)));
  const Quantized whole = quantize(x, {.granularity = per_tensor()});
  EXPECT_TRUE(std::isnan(at(whole.scale, 0)));
}

// A finite element over a tiny scale saturates, whatever its quotient becomes.
TEST_P(Quantizer, InfinitiesAreToldByTheElement) {
  const Tensor x = values(float32, {1, 3}, {3e38, -3e38, static_cast<double>(INFINITY)});
  for (const DType dtype : kSymmetric) {
    if (!is_float8(dtype)) continue;
    const Quantized q =
        quantize(x, {.dtype = dtype, .granularity = per_tensor(), .scale = 0x1p-100F});
    EXPECT_EQ(at(q.data, 0), aim(dtype));
    EXPECT_EQ(at(q.data, 1), -aim(dtype));
    EXPECT_EQ(std::isnan(at(q.data, 2)), dtype != float8_e5m2);
  }
}

TEST_P(Quantizer, NonFiniteNumbersAreRefusedOnRequest) {
  const Tensor x = values(bfloat16, {2, 2}, {1, 2, 3, -static_cast<double>(INFINITY)});
  expect_error([&] { quantize(x, {.non_finite = NonFinite::error}); }, Code::invalid_argument,
               "quantize: x[1, 1] must be finite; got -inf", true);
  (void)quantize(x.view().slice(0, 0, 1), {.non_finite = NonFinite::error});
  // The first one in row order, whoever finds it.
  const Tensor large = gaussians(float32, {300, 200}, 9);
  float* elements = large.data_as<float>();
  for (const std::int64_t place : {170 * 200 + 9, 170 * 200 + 8, 290 * 200}) {
    elements[place] = std::numeric_limits<float>::quiet_NaN();
  }
  expect_error([&] { quantize(large, {.non_finite = NonFinite::error}); }, Code::invalid_argument,
               "quantize: x[170, 8] must be finite; got nan", true);
}

TEST_P(Quantizer, Float8OverflowFollowsIeeeOnRequest) {
  const Tensor x = values(float32, {1, 2}, {4, 1});
  const auto code = [&](DType dtype) {
    return at(quantize(x, {.dtype = dtype, .scale_ub = 1.0F, .overflow = Overflow::ieee}).data, 0);
  };
  EXPECT_TRUE(std::isnan(code(float8_e4m3fn)));
  EXPECT_EQ(code(float8_e5m2), static_cast<double>(INFINITY));
  EXPECT_EQ(at(quantize(x, {.dtype = float8_e5m2, .scale_ub = 1.0F}).data, 0), 57344.0);
}

TEST_P(Quantizer, OneCellThatAllThreadsShare) {
  for (const DType from : {float32, bfloat16, float16}) {
    Tensor x = gaussians(from, {260, 150}, 8, 3.0);
    for (const std::int64_t row : {0, 129, 259}) {  // the largest magnitude in any band
      const Tensor own = copy(x, from);
      const Tensor top = values(from, {1, 1}, {row % 2 == 0 ? 300.0 : -300.0});
      std::memcpy(own.view().at(row * 150 + 77), top.data(),
                  static_cast<std::size_t>(element_bytes(from)));
      for (const Strided& layout : layouts(own)) {
        const QuantizeOptions o{.granularity = per_tensor()};
        expect_section6(own, o, quantize(layout.view, o));
        const QuantizeOptions affine{.dtype = uint8, .granularity = per_tensor(), .azp = true};
        expect_section6(own, affine, quantize(layout.view, affine));
      }
    }
  }
}

// PyTorch gives a matrix without elements no memory.
TEST_P(Quantizer, EmptyMatrices) {
  for (const Shape& shape : {Shape{0, 5}, Shape{0, 200}, Shape{5, 0}, Shape{200, 0}, Shape{0, 0}}) {
    for (const DType from : {float32, bfloat16, float16}) {
      const TensorView x(nullptr, from, std::span(shape));
      for (const Side side : {Side::a, Side::b}) {
        for (const Granularity& granularity : granularities(side)) {
          for (const bool azp : {false, true}) {
            for (const DType dtype : {float8_e4m3fn, float8_e5m2, int8}) {
              if (azp && is_float8(dtype)) continue;
              const QuantizeOptions o{
                  .dtype = dtype, .granularity = granularity, .side = side, .azp = azp};
              for (const int threads : {1, 2}) {
                ThreadExecutor executor(threads);
                const Quantized q = quantize(x, o, {.executor = &executor});
                EXPECT_EQ(shape_string(q.data), shape_string(x));
                expect_section6(x, o, q);
              }
            }
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, Quantizer, testing::ValuesIn(usable_backends()), backend_name);

}  // namespace
}  // namespace octavo::test::quantize_test
