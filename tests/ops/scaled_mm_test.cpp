// SPDX-License-Identifier: Apache-2.0
// scaled_mm: the epilogue's sequence, empty extents, outputs, exactness, special values.
#include <limits>

#include "ops/helpers.hpp"

namespace octavo::test::scaled_mm_test {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

// t = float(acc); t *= sa; t *= sb; t *= alpha; t += beta * C; t += bias; t *= scale_result.
TEST(ScaledMm, TheSequenceOfRoundingsIsTheSpecifications) {
  const Tensor a = integers(int8, {8, 100}, 1);
  const Tensor b = integers(int8, {100, 12}, 2);
  const Tensor sa = uniforms(float32, {8}, 3);
  const Tensor sb = uniforms(float32, {12}, 4);
  const Tensor bias = gaussians(bfloat16, {12}, 5);
  const Tensor c = gaussians(float16, {8, 12}, 6);
  for (const char* backend : usable_backends()) {
    const Tensor out = scaled_mm(a, b,
                                 {.scale_a = {sa, per_token()},
                                  .scale_b = sb,
                                  .bias = bias,
                                  .scale_result = 1.1,
                                  .alpha = 0.7,
                                  .beta = values(float32, {1}, {-0.3}),
                                  .c = c,
                                  .backend = backend});
    for (std::int64_t i = 0; i < 8; ++i) {
      for (std::int64_t j = 0; j < 12; ++j) {
        float t = static_cast<float>(exact_dot(a, b, i, j));
        t *= float_at(sa, i);
        t *= float_at(sb, j);
        t *= 0.7F;
        const float scaled_c = -0.3F * float_at(c, i, j);
        t += scaled_c;
        t += float_at(bias, j);
        t *= 1.1F;
        ASSERT_EQ(float_at(out, i, j), t) << backend;
      }
    }
  }
}

TEST(ScaledMm, WithoutBetaCIsAddedOnce) {
  const Tensor a = integers(int8, {2, 3}, 1);
  const Tensor b = integers(int8, {3, 4}, 2);
  const Tensor c = gaussians(float32, {2, 4}, 3);
  expect_same_bits(scaled_mm(a, b, {.c = c}), scaled_mm(a, b, {.beta = 1.0, .c = c}));
}

TEST(ScaledMm, DefaultOutputTypesFollowTheOperands) {
  const struct {
    DType a, b, out;
  } rows[] = {
      {int8, int8, float32},
      {uint8, int8, float32},
      {float8_e4m3fn, float8_e5m2, bfloat16},
      {bfloat16, bfloat16, bfloat16},
      {float16, float16, float16},
      {float32, float32, float32},
      {bfloat16, int8, bfloat16},
      {float16, float8_e4m3fnuz, float16},
  };
  for (const auto& row : rows) {
    const Tensor a = integers(row.a, {2, 3}, 1, 0, 4);
    const Tensor b = integers(row.b, {3, 2}, 2, 0, 4);
    const Tensor out = scaled_mm(a, b);
    EXPECT_EQ(out.dtype(), row.out) << name(row.a);
    expect_near(out, 3, [&](std::int64_t i, std::int64_t j) { return dot(a, b, i, j); });
  }
}

TEST(ScaledMm, KZeroGivesBetaCPlusBiasTimesScaleResult) {
  const Tensor a = Tensor::empty(int8, {2, 0});
  const Tensor b = Tensor::empty(int8, {0, 3});
  const Tensor c = gaussians(float32, {2, 3}, 1);
  const Tensor bias = gaussians(float32, {3}, 2);
  ScaledMmOptions options{.scale_a = 0.5, .bias = bias, .scale_result = 0.3, .beta = 2.0, .c = c};
  for (const char* backend : usable_backends()) {
    options.backend = backend;
    options.matmul.torch_compat = false;
    const Tensor out = scaled_mm(a, b, options);
    options.matmul.torch_compat = true;
    const Tensor zeros = scaled_mm(a, b, options);
    for (std::int64_t i = 0; i < 2; ++i) {
      for (std::int64_t j = 0; j < 3; ++j) {
        const float twice = 2.0F * float_at(c, i, j);
        EXPECT_EQ(float_at(out, i, j), (twice + float_at(bias, j)) * 0.3F) << backend;
        EXPECT_EQ(float_at(zeros, i, j), 0.0F) << backend;
      }
    }
  }
}

TEST(ScaledMm, AnyExtentMayBeZero) {
  for (const char* backend : usable_backends()) {
    for (const Shape& mnk : {Shape{0, 3, 4}, Shape{3, 0, 4}, Shape{0, 0, 0}, Shape{0, 3, 0}}) {
      const Tensor a = Tensor::empty(float8_e4m3fn, {mnk[0], mnk[2]});
      const Tensor b = Tensor::empty(float8_e4m3fn, {mnk[2], mnk[1]});
      const Tensor out = scaled_mm(a, b,
                                   {.scale_a = {Tensor::empty(float32, {mnk[0]}), per_token()},
                                    .scale_b = Tensor::empty(float32, {mnk[1]}),
                                    .bias = Tensor::empty(float32, {mnk[1]}),
                                    .scale_result = Tensor::empty(float32, {mnk[1]}),
                                    .backend = backend});
      EXPECT_EQ(out.size(0), mnk[0]);
      EXPECT_EQ(out.size(1), mnk[1]);
      EXPECT_EQ(out.numel(), 0);
    }
  }
}

TEST(ScaledMm, OutMayHaveAnyStridesAndNothingBesideItIsWritten) {
  const Tensor a = integers(int8, {5, 9}, 1);
  const Tensor b = integers(int8, {9, 7}, 2);
  for (const DType dtype : {float32, bfloat16, int8, float8_e4m3fn, int32}) {
    const Tensor want = scaled_mm(a, b, {.out_dtype = dtype});
    const Tensor poison = tensor_of(dtype, {5, 7}, [](std::int64_t) { return 1.0; });
    for (const Shape& strides :
         {Shape{7, 1}, Shape{1, 5}, Shape{20, 2}, Shape{-7, -1}, Shape{-30, 3}, Shape{2, -11}}) {
      const Strided out = strided(poison, strides);
      const std::vector<std::uint8_t> gaps = *out.memory;
      const Tensor got = scaled_mm(a, b, {.out_dtype = dtype, .out = out.view});
      EXPECT_EQ(got.data(), out.view.data);
      expect_same_bits(got, want);
      // Put the poison back: the rest has to be as it was.
      const auto bytes = static_cast<std::size_t>(element_bytes(dtype));
      for (std::int64_t i = 0; i < 5; ++i) {
        for (std::int64_t j = 0; j < 7; ++j) {
          const std::int64_t place = i * strides[0] + j * strides[1];
          std::memcpy(out.view.at(place), poison.view().at(0), bytes);
        }
      }
      EXPECT_TRUE(*out.memory == gaps) << name(dtype);
    }
  }
}

TEST(ScaledMm, OutMayBeExactlyC) {
  const Tensor a = integers(int8, {6, 20}, 1);
  const Tensor b = integers(int8, {20, 70}, 2);
  const Tensor c = gaussians(float32, {6, 70}, 3);
  const Tensor want = scaled_mm(a, b, {.beta = 0.5, .c = c});
  for (const char* backend : usable_backends()) {
    const Tensor in_place = copy(c, float32);
    scaled_mm(a, b, {.beta = 0.5, .c = in_place, .out = in_place, .backend = backend});
    expect_same_bits(in_place, want);
  }
}

TEST(ScaledMm, ColumnBlocksOfOneBufferDoNotOverlap) {
  const Tensor both = Tensor::empty(float32, {4, 10});
  const Tensor left = gaussians(float32, {4, 3}, 1);
  for (std::int64_t i = 0; i < 4; ++i) {
    for (std::int64_t j = 0; j < 3; ++j) {
      both.data_as<float>()[i * 10 + j] = float_at(left, i, j);
    }
  }
  const Tensor b = gaussians(float32, {3, 7}, 2);
  const TensorView out = both.view().slice(1, 3, 10);
  scaled_mm(both.view().slice(1, 0, 3), b, {.out = out});
  expect_same_bits(out, scaled_mm(left, b));
  expect_error(
      [&] {
        scaled_mm(both.view().slice(1, 0, 4), gaussians(float32, {4, 7}, 3), {.out = out});
      },
      Code::invalid_argument, "scaled_mm: out must not overlap a (out may be exactly C)");
}

TEST(ScaledMm, MisalignedMemoryOfEveryType) {
  for (const DType dtype : {float8_e4m3fn, float8_e4m3fnuz, float8_e5m2, float8_e5m2fnuz, bfloat16,
                            float16, float32, int8}) {
    const Tensor a = integers(dtype, {5, 33}, 1, -8, 8);
    const Tensor b = integers(dtype, {33, 9}, 2, -8, 8);
    const Tensor want = scaled_mm(a, b);
    std::vector<std::uint8_t> memory(16384);
    const auto place = [&](const Tensor& t, std::size_t at_byte) {
      const std::vector<std::uint8_t> bytes = bytes_of(t);
      std::copy(bytes.begin(), bytes.end(), memory.begin() + static_cast<std::ptrdiff_t>(at_byte));
      TensorView view = t.view();
      view.data = memory.data() + at_byte;
      return view;
    };
    for (const std::size_t offset : {1U, 3U, 7U}) {
      const TensorView x = place(a, offset);
      const TensorView w = place(b, 4096 + offset);
      const TensorView out = place(want, 8192 + offset);
      std::fill(memory.begin() + 8192, memory.end(), std::uint8_t{0xA5});
      scaled_mm(x, w, {.out = out});
      expect_same_bits(out, want);
    }
  }
}

// 255 * 128 * K passes int32 at K = 65794 and float32's 2^24 long before.
TEST(ScaledMm, IntegerSumsAreExactForAnyKAndFullRangeCodes) {
  constexpr std::int64_t kDeep = 70001;
  const Tensor lowest = tensor_of(int8, {1, kDeep}, [](std::int64_t) { return -128; });
  const Tensor highest = tensor_of(uint8, {1, kDeep}, [](std::int64_t) { return 255; });
  const std::int64_t squares = 16384 * kDeep;
  const std::int64_t mixed = -32640 * kDeep;
  for (const char* backend : usable_backends()) {
    const auto product = [&](const Tensor& a, DType out) {
      return scaled_mm(a, lowest.transposed(), {.out_dtype = out, .backend = backend});
    };
    EXPECT_EQ(float_at(product(lowest, float32), 0), static_cast<float>(squares));
    EXPECT_EQ(float_at(product(highest, float32), 0), static_cast<float>(mixed));
    EXPECT_EQ(*product(lowest, int32).data_as<std::int32_t>(), squares);
    EXPECT_EQ(*product(highest, int32).data_as<std::int32_t>(),
              std::numeric_limits<std::int32_t>::min());  // saturated, never wrapped
  }
}

TEST(ScaledMm, ZeroPointsAreSubtractedExactly) {
  const Tensor a = integers(uint8, {4, 3000}, 1, 0, 255);
  const Tensor b = integers(int8, {3000, 5}, 2);
  const Tensor per_row = values(int32, {4}, {0, 255, -70000, 128});
  for (const char* backend : usable_backends()) {
    const Tensor out = scaled_mm(a, b, {.azp = per_row, .backend = backend});
    const Tensor one = scaled_mm(a, b, {.azp = values(uint8, {1}, {128}), .backend = backend});
    const Tensor exact = scaled_mm(a, b, {.out_dtype = int32, .azp = values(int8, {1, 1}, {-3})});
    for (std::int64_t i = 0; i < 4; ++i) {
      for (std::int64_t j = 0; j < 5; ++j) {
        std::int64_t column = 0;
        for (std::int64_t k = 0; k < 3000; ++k) column += static_cast<std::int64_t>(at(b, k, j));
        const std::int64_t acc = exact_dot(a, b, i, j);
        const auto azp = static_cast<std::int64_t>(at(per_row, i));
        EXPECT_EQ(float_at(out, i, j), static_cast<float>(acc - azp * column));
        EXPECT_EQ(float_at(one, i, j), static_cast<float>(acc - 128 * column));
        EXPECT_EQ(exact.data_as<std::int32_t>()[i * 5 + j], acc + 3 * column);
      }
    }
  }
}

TEST(ScaledMm, NaNAndInfinityPropagateByIeeeRules) {
  const Tensor a = values(float32, {3, 2}, {kInf, 1, std::nan(""), 1, 0, kInf});
  const Tensor b = values(float32, {2, 2}, {1, -1, 2, 0});
  for (const char* backend : usable_backends()) {
    const Tensor out = scaled_mm(a, b, {.backend = backend});
    EXPECT_EQ(float_at(out, 0, 0), kInf);
    EXPECT_EQ(float_at(out, 0, 1), -kInf);
    EXPECT_TRUE(std::isnan(float_at(out, 1, 0)));
    EXPECT_EQ(float_at(out, 2, 0), kInf);
    EXPECT_TRUE(std::isnan(float_at(out, 2, 1)));  // Inf * 0
    const Tensor narrow = scaled_mm(a, b, {.out_dtype = int8, .backend = backend});
    const std::int8_t want[] = {127, -128, 0, 0, 127, 0};
    for (std::int64_t i = 0; i < 6; ++i) EXPECT_EQ(narrow.data_as<std::int8_t>()[i], want[i]);
  }
}

TEST(ScaledMm, FiniteFloat8OverflowSaturatesByDefaultAndFollowsIeeeOnRequest) {
  const Tensor a = values(float32, {1, 1}, {1e6});
  const Tensor one = values(float32, {1, 1}, {1});
  const auto code = [&](DType dtype, Overflow overflow) {
    const Tensor out = scaled_mm(a, one, {.out_dtype = dtype, .matmul = {.overflow = overflow}});
    return at(out, 0);
  };
  EXPECT_EQ(code(float8_e4m3fn, Overflow::saturate), 448.0);
  EXPECT_EQ(code(float8_e5m2, Overflow::saturate), 57344.0);
  EXPECT_TRUE(std::isnan(code(float8_e4m3fn, Overflow::ieee)));
  EXPECT_EQ(code(float8_e5m2, Overflow::ieee), double{kInf});
}

TEST(ScaledMm, AProblemIsRunAgainAfterItsOperandsChanged) {
  const Tensor a = integers(int8, {3, 8}, 1);
  const Tensor b = integers(int8, {8, 4}, 2);
  const Tensor out = Tensor::empty(float32, {3, 4});
  const MatmulProblem problem = scaled_mm_problem(a, b, {.out = out});
  run(problem);
  expect_same_bits(out, scaled_mm(a, b));
  a.data_as<std::int8_t>()[0] = 99;
  run(problem);
  expect_same_bits(out, scaled_mm(a, b));
}

}  // namespace
}  // namespace octavo::test::scaled_mm_test
