// SPDX-License-Identifier: Apache-2.0
// Random tensors, and what C gave against what C++ gives.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "octavo/octavo.h"
#include "octavo/octavo.hpp"

namespace octavo::test {

/// Random values in [-2, 2] of any type; integers in [-100, 100].
inline Tensor random(DType dtype, std::initializer_list<std::int64_t> shape, unsigned seed) {
  std::mt19937 engine(seed);
  const float reach = is_integer8(dtype) ? 100.0F : 2.0F;
  std::uniform_real_distribution<float> values(-reach, reach);
  const Tensor floats = Tensor::empty(float32, shape);
  for (std::int64_t i = 0; i < floats.numel(); ++i) floats.data_as<float>()[i] = values(engine);
  return floats.to(dtype);
}

/// The descriptor of a view, which must outlive it.
inline octavo_view describe(const TensorView& view) {
  octavo_view d =
      octavo_view_of(view.data, {info(view.dtype).dlpack_code, info(view.dtype).bits, 1}, view.rank,
                     view.shape.data());
  d.strides = view.strides.data();
  return d;
}

/// A descriptor's elements are those of `want`, in its shape and type.
inline void expect_same_bits(const octavo_view& got, const Tensor& want) {
  ASSERT_EQ(got.ndim, want.rank());
  ASSERT_EQ(octavo_dtype_name(got.dtype), name(want.dtype()));
  TensorView view(got.data, want.dtype(), std::span(got.shape, static_cast<std::size_t>(got.ndim)));
  std::copy_n(got.strides, got.ndim, view.strides.begin());
  const Tensor left = copy(view, want.dtype());
  const Tensor right = copy(want, want.dtype());
  ASSERT_EQ(left.numel(), right.numel());
  EXPECT_EQ(0, std::memcmp(left.data(), right.data(),
                           static_cast<std::size_t>(left.numel() * element_bytes(want.dtype()))));
}

/// A call succeeded with those elements; releases the tensor.
inline void expect_same_bits(octavo_code code, octavo_tensor* got, const Tensor& want) {
  ASSERT_EQ(code, OCTAVO_OK) << octavo_last_error();
  octavo_view view{};
  ASSERT_EQ(octavo_tensor_view(got, &view), OCTAVO_OK);
  expect_same_bits(view, want);
  octavo_tensor_release(got);
}

}  // namespace octavo::test
