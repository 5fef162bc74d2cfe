// SPDX-License-Identifier: Apache-2.0
// Matrices as parts of tensors, and what stands beside them.
#include <gtest/gtest.h>

#include <array>

#include "octavo/matrix.hpp"
#include "octavo/scale.hpp"

namespace octavo {
namespace {

const std::array<float, 24> kValues{};

TEST(MatrixView, IsTheLastTwoDimensions) {
  const TensorView cube = view(kValues, {2, 3, 4});
  const MatrixView m = cube;
  EXPECT_EQ(m.data, kValues.data());
  EXPECT_EQ(m.shape, (std::array<std::int64_t, 2>{3, 4}));
  EXPECT_EQ(m.strides, (std::array<std::int64_t, 2>{4, 1}));
  const auto back = static_cast<TensorView>(m);
  EXPECT_EQ(shape_string(back), "[3, 4]");
  EXPECT_EQ(back.strides, cube[0].strides);
  EXPECT_FALSE(static_cast<TensorView>(MatrixView(TensorView())).defined());
}

TEST(MatrixView, OfAVectorIsARowThatRepeats) {
  const MatrixView row = view(kValues, {6});
  EXPECT_EQ(row.shape, (std::array<std::int64_t, 2>{1, 6}));
  EXPECT_EQ(row.at(5, 2), row.at(0, 2));
  const MatrixView one = view(kValues, {});
  EXPECT_EQ(one.numel(), 1);
  EXPECT_EQ(one.at(3, 4), kValues.data());
}

TEST(MatrixView, IsCutAndTransposedLikeATensor) {
  const TensorView tensor = view(kValues, {4, 6});
  const MatrixView m = tensor;
  for (const int dim : {0, 1}) {
    const MatrixView got = m.slice(dim, 1, 3).transposed();
    const MatrixView want = tensor.slice(dim, 1, 3).transposed();
    EXPECT_EQ(got.data, want.data);
    EXPECT_EQ(got.shape, want.shape);
    EXPECT_EQ(got.strides, want.strides);
  }
  EXPECT_EQ(m.from(1, 2).data, kValues.data() + 8);
  EXPECT_EQ(MatrixView().slice(0, 1, 2).data, nullptr);
}

TEST(ScaleView, OfAGroupIsItsFirst) {
  const CarriedScale carried{ScaleKind::tensor, 1.0F, view(kValues, {2, 3, 4}), 5, 6, 7, 8};
  const ScaleView transposed = ScaleView(carried).transposed().shifted(1, 2);
  EXPECT_EQ(transposed.data.strides, (std::array<std::int64_t, 2>{1, 4}));
  EXPECT_EQ(transposed.rows, 6);
  EXPECT_EQ(transposed.cols, 5);
  EXPECT_EQ(transposed.row0, 9);
  EXPECT_EQ(transposed.col0, 9);
}

TEST(Device, NumbersThatLeave16BitsNameNone) {
  EXPECT_EQ(device_of(2, 3), (Device{DeviceType::cuda, 3}));
  EXPECT_NE(device_of(0x10001, 0).type, DeviceType::cpu);
  EXPECT_NE(device_of(2, 0x10000).index, 0);
  EXPECT_LT(device_of(2, -0x10000).index, 0);
}

}  // namespace
}  // namespace octavo
