// SPDX-License-Identifier: Apache-2.0
// Packed experts: each is the weight that `pack` makes, and all come back bit for bit.
#include <gtest/gtest.h>

#include "layers/compose.hpp"

namespace octavo::test::pack_experts_test {
namespace {

struct Stored {
  const char* name;
  Granularity granularity;
  Shape scale;
  Shape unpacked;
};

const Stored kStored[] = {
    {"Tensor", per_tensor(), {3}, {3}},
    {"TensorOfRank3", {}, {3, 1, 1}, {3}},
    {"Channel", {}, {3, 70}, {3, 70}},
    {"ChannelOfRank3", per_channel(), {3, 70, 1}, {3, 70}},
    {"Group", group(16), {3, 70, 3}, {3, 70, 3}},
    {"Block", block(32, 16), {3, 3, 3}, {3, 3, 3}},
};

TEST(PackExperts, ComeBackBitForBit) {
  for (const DType dtype : {DType::int8, DType::float8_e4m3fn, DType::float8_e5m2fnuz}) {
    const Tensor weight = some_experts(dtype, {3, 70, 40}, 1);
    for (const Stored& s : kStored) {
      SCOPED_TRACE(s.name);
      const Tensor scale = uniforms(DType::float32, s.scale, 2);
      const ExpertWeights packed = pack_experts(weight, {.scale = {scale, s.granularity}});
      const UnpackedExperts u = unpack_experts(packed);
      expect_same_bits(u.data, weight);
      EXPECT_EQ(shape_string(u.scale), shape_string(Tensor::empty(DType::float32, s.unpacked)));
      EXPECT_TRUE(bytes_of(u.scale) == bytes_of(scale));
      const ExpertWeights again = pack_experts(u.data, {.scale = {u.scale, u.granularity}});
      EXPECT_EQ(again.granularity(), packed.granularity());
    }
  }
}

TEST(PackExperts, EachIsWhatPackMakes) {
  const Tensor weight = some_experts(DType::float8_e4m3fn, {3, 70, 40}, 1);
  const Tensor scale = uniforms(DType::float32, {3, 3, 3}, 2);
  const ExpertWeights packed = pack_experts(weight, {.scale = {scale, block(32, 16)}});
  EXPECT_EQ(packed.experts(), 3);
  EXPECT_EQ(packed.k(), 40);
  EXPECT_EQ(packed.n(), 70);
  const Tensor a = gaussians(DType::float8_e4m3fn, {5, 40}, 3);
  for (std::int64_t e = 0; e < 3; ++e) {
    const TensorView s = scale.view()[e].transposed();
    const PackedWeight alone =
        pack(Operand(weight.view()[e].transposed()), {.scale = {s, block(16, 32)}});
    expect_same_bits(scaled_mm(a, packed[e]), scaled_mm(a, alone));
  }
}

TEST(PackExperts, AnyStridesAndTypesOfScales) {
  const Tensor weight = some_experts(DType::int8, {3, 10, 8}, 1);
  const Tensor scale = uniforms(DType::bfloat16, {3, 10}, 2);
  const Strided apart = strided(weight, {1, 24, 3});
  const Strided scales = strided(scale, {-1, 3});
  const UnpackedExperts u = unpack_experts(pack_experts(apart.view, {.scale = scales.view}));
  expect_same_bits(u.data, weight);
  expect_same_bits(u.scale, scale);
}

TEST(PackExperts, ANumberIsTheScaleOfAll) {
  const Tensor weight = some_experts(DType::int8, {2, 3, 4}, 1);
  const UnpackedExperts u = unpack_experts(pack_experts(weight, {.scale = 0.25}));
  expect_same_bits(u.scale, values(DType::float32, {2}, {0.25, 0.25}));
  EXPECT_FALSE(unpack_experts(pack_experts(weight)).scale.defined());
}

TEST(PackExperts, OneBlockForAll) {
  const ExpertWeights packed = pack_experts(some_experts(DType::int8, {4, 64, 64}, 1));
  EXPECT_GE(packed.bytes(), 4U * 64 * 64);
  EXPECT_TRUE(ExpertWeights(packed)[3].defined());
  EXPECT_EQ(pack_experts(Tensor::empty(DType::int8, {0, 4, 4})).experts(), 0);
}

}  // namespace
}  // namespace octavo::test::pack_experts_test
