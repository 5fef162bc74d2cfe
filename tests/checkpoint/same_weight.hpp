// SPDX-License-Identifier: Apache-2.0
// Weights compared field by field, bit for bit.
#pragma once

#include "octavo/checkpoint.hpp"
#include "ops/helpers.hpp"

namespace octavo::test {

inline void expect_same(const Tensor& got, const Tensor& want, const char* field) {
  SCOPED_TRACE(field);
  ASSERT_EQ(got.defined(), want.defined());
  if (want.defined()) expect_same_bits(got, want);
}

inline void expect_same_weight(const Weight& got, const Weight& want) {
  EXPECT_EQ(got.scheme, want.scheme);
  EXPECT_EQ(got.codes.grid, want.codes.grid);
  EXPECT_EQ(got.codes.row0, want.codes.row0);
  EXPECT_EQ(got.codes.col0, want.codes.col0);
  expect_same(got.codes.data, want.codes.data, "codes");
  expect_same(got.codes.scale, want.codes.scale, "scale");
  expect_same(got.codes.azp, want.codes.azp, "azp");
  expect_same(got.absmax, want.absmax, "absmax");
  expect_same(got.columns, want.columns, "columns");
  ASSERT_EQ(got.activation.has_value(), want.activation.has_value());
  if (!want.activation) return;
  const ActivationQuant &a = *got.activation, &b = *want.activation;
  EXPECT_EQ(a.spec.dtype, b.spec.dtype);
  EXPECT_EQ(a.spec.granularity, b.spec.granularity);
  EXPECT_EQ(a.spec.azp, b.spec.azp);
  EXPECT_EQ(a.spec.rounding, b.spec.rounding);
  EXPECT_EQ(a.spec.scale_dtype, b.spec.scale_dtype);
  EXPECT_EQ(a.vectorwise, b.vectorwise);
  EXPECT_EQ(a.outlier_threshold, b.outlier_threshold);
  EXPECT_EQ(a.whole_columns, b.whole_columns);
  EXPECT_EQ(a.static_scale, b.static_scale);
  EXPECT_EQ(a.static_azp, b.static_azp);
  EXPECT_EQ(a.rotation, b.rotation);
  expect_same(a.outlier_columns, b.outlier_columns, "outlier_columns");
}

}  // namespace octavo::test
