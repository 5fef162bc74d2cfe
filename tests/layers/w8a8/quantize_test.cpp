// SPDX-License-Identifier: Apache-2.0
// QuantFP8: vLLM's rules, against octavo.quantize and in values written down by hand.
#include <cmath>

#include "octavo/w8a8_utils.hpp"
#include "ops/helpers.hpp"

namespace octavo::test::quantize_test {
namespace {

using w8a8_utils::GroupShape;
using w8a8_utils::QuantFP8;

const GroupShape kShapes[] = {GroupShape::PER_TENSOR, GroupShape::PER_TOKEN, {1, 16}};

Granularity granularity_of(const GroupShape& shape) {
  if (shape == GroupShape::PER_TENSOR) return per_tensor();
  return shape == GroupShape::PER_TOKEN ? per_token() : group(shape.col);
}

TEST(QuantFP8, DynamicScalesAreVllms) {
  const Tensor x = gaussians(bfloat16, {5, 40}, 1);
  for (const GroupShape& shape : kShapes) {
    const bool groups = shape.col > 0;
    const float least = groups ? 1e-10F / 448.0F : 1.0F / (448.0F * 512.0F);
    const Quantized want = quantize(
        x, {.dtype = float8_e4m3fn, .granularity = granularity_of(shape), .min_scale = least});
    const QuantFP8::Output got = QuantFP8(false, shape)(x);
    expect_same_bits(got.codes, want.data);
    EXPECT_EQ(bytes_of(got.scale), bytes_of(want.scale));
    EXPECT_EQ(shape_string(got.scale), shape == GroupShape::PER_TENSOR ? "[1]"
                                       : groups                        ? "[5, 3]"
                                                                       : "[5, 1]");
  }
}

TEST(QuantFP8, ZerosGetTheLeastScale) {
  const Tensor x = tensor_of(float32, {2, 16}, [](std::int64_t) { return 0.0; });
  EXPECT_EQ(float_at(QuantFP8(false)(x).scale, 0), 1.0F / (448.0F * 512.0F));
  EXPECT_EQ(float_at(QuantFP8(false, GroupShape::PER_TOKEN)(x).scale, 1), 1.0F / (448.0F * 512.0F));
  EXPECT_EQ(float_at(QuantFP8(false, {1, 16})(x).scale, 1), 1e-10F / 448.0F);
  const Tensor tiny = values(float32, {1, 1}, {1e-30});
  EXPECT_EQ(float_at(QuantFP8(false)(tiny).scale, 0), 1.0F / (448.0F * 512.0F));
}

TEST(QuantFP8, FnuzAimsAt224AndNeverGoesBeyond) {
  const Tensor x = values(float32, {1, 4}, {3, -7, 1, NAN});
  const QuantFP8 dynamic(false, GroupShape::PER_TOKEN, {}, float8_e4m3fnuz);
  const QuantFP8::Output d = dynamic(x);
  EXPECT_EQ(float_at(d.scale, 0), 7.0F / 224.0F);
  EXPECT_EQ(at(d.codes, 1), -224.0);
  EXPECT_TRUE(std::isnan(at(d.codes, 3)));
  EXPECT_EQ(float_at(dynamic(x, {}, values(float32, {1}, {2})).scale, 0), 2.0F / 224.0F);
  EXPECT_EQ(at(dynamic(x, {}, values(float32, {1}, {2})).codes, 1), -224.0);
  const QuantFP8 fixed(true, GroupShape::PER_TENSOR, {}, float8_e4m3fnuz);
  const QuantFP8::Output s = fixed(x, values(float32, {1}, {0.01}));
  EXPECT_EQ(at(s.codes, 0), 224.0);
  EXPECT_EQ(at(s.codes, 1), -224.0);
  EXPECT_EQ(at(s.codes, 2), 96.0);  // 100 lies halfway between 12 * 8 and 13 * 8
  EXPECT_TRUE(std::isnan(at(s.codes, 3)));
}

TEST(QuantFP8, TheUpperBoundHoldsPerTensorTokenAndGroup) {
  const Tensor x = values(float32, {2, 2}, {1, 8, 2, -4});
  const Tensor bound = values(bfloat16, {}, {4});
  for (const GroupShape& shape : kShapes) {
    const QuantFP8::Output q = QuantFP8(false, shape)(x, {}, bound);
    EXPECT_EQ(float_at(q.scale, 0), 4.0F / 448.0F);
    EXPECT_EQ(at(q.codes, 1), 448.0);
    EXPECT_EQ(at(q.codes, 3), -448.0);
  }
}

TEST(QuantFP8, StaticScalesComeBackAsGiven) {
  const Tensor x = gaussians(float16, {3, 32}, 2);
  for (const Shape& shape : {Shape{}, Shape{1}, Shape{1, 1}, Shape{3}, Shape{3, 1}, Shape{3, 2}}) {
    const Tensor scale = uniforms(float32, shape, 5);
    const bool one = scale.numel() == 1;
    const bool groups = scale.numel() == 6;
    const GroupShape kind = groups ? GroupShape{1, 16} : GroupShape::PER_TOKEN;
    const QuantFP8::Output got = QuantFP8(true, kind)(x, scale);
    expect_same_bits(got.scale, scale);
    const Granularity reading = one ? per_tensor() : groups ? group(16) : per_token();
    expect_same_bits(got.codes, quantize(x, {.dtype = float8_e4m3fn,
                                             .granularity = reading,
                                             .scale = Scale(scale, reading)})
                                    .data);
  }
}

TEST(QuantFP8, PaddingIsRowsOfZeros) {
  const Tensor x = gaussians(float32, {3, 20}, 4);
  for (const GroupShape& shape : kShapes) {
    const QuantFP8::Output plain = QuantFP8(false, shape)(x);
    const QuantFP8::Output padded = QuantFP8(false, shape, 17)(x);
    EXPECT_EQ(shape_string(padded.codes), "[17, 20]");
    expect_same_bits(padded.codes.view().slice(0, 0, 3), plain.codes);
    for (std::int64_t i = 60; i < 340; ++i) ASSERT_EQ(padded.codes.data_as<std::uint8_t>()[i], 0);
    if (shape == GroupShape::PER_TENSOR) {
      expect_same_bits(padded.scale, plain.scale);
    } else {
      expect_same_bits(padded.scale.view().slice(0, 0, 3), plain.scale);
      EXPECT_EQ(padded.scale.size(0), 17);
      EXPECT_EQ(at(padded.scale, 16, 0), 1.0);
    }
    expect_same_bits(QuantFP8(false, shape, 2)(x).codes, plain.codes);
  }
}

TEST(QuantFP8, ReadsAnyStridesAndNoRows) {
  const Tensor x = gaussians(float32, {4, 48}, 6);
  const Strided apart = strided(x, {1, -7});
  for (const GroupShape& shape : kShapes) {
    const QuantFP8 quantizer(false, shape);
    EXPECT_EQ(bytes_of(quantizer(apart.view).codes), bytes_of(quantizer(x).codes));
    EXPECT_EQ(quantizer(Tensor::empty(float32, {0, 48})).codes.numel(), 0);
    EXPECT_EQ(quantizer(Tensor::empty(float32, {4, 0})).codes.numel(), 0);
  }
}

}  // namespace
}  // namespace octavo::test::quantize_test
