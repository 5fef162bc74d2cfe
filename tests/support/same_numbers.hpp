// SPDX-License-Identifier: Apache-2.0
// Results of two machines: the same bits, but for those of a NaN, which each machine makes its own.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "kit/operands/element.hpp"
#include "octavo/tensor.hpp"

namespace octavo::test {

inline void expect_same_numbers(const TensorView& one, const TensorView& other) {
  ASSERT_EQ(one.dtype, other.dtype);
  const Tensor got = copy(one, one.dtype), want = copy(other, other.dtype);  // row-major
  ASSERT_EQ(shape_string(got), shape_string(want));
  const auto bytes = static_cast<std::size_t>(element_bytes(want.dtype()));
  for (std::int64_t i = 0; i < want.numel(); ++i) {
    if (std::memcmp(got.view().at(i), want.view().at(i), bytes) == 0) continue;
    const double x = kit::load(got, i), y = kit::load(want, i);
    ASSERT_TRUE(std::isnan(x) && std::isnan(y))
        << "element " << i << " of " << want.numel() << " is " << x << ", not " << y;
  }
}

}  // namespace octavo::test
