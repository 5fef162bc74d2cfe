// SPDX-License-Identifier: Apache-2.0
// Parts of views that have no memory: empty tensors, and problems that are planned and not run.
#include <gtest/gtest.h>

#include "octavo/tensor.hpp"

namespace octavo {
namespace {

TEST(TensorView, PartsOfNothingAreNothing) {
  TensorView nothing;
  nothing.dtype = DType::float32;
  nothing.rank = 3;
  nothing.shape = {4, 0, 7};
  nothing.strides = {-70, 7, 1};
  EXPECT_EQ(nullptr, nothing.at(3));
  EXPECT_EQ(nullptr, nothing[3].data);
  EXPECT_EQ(nullptr, nothing[3].transposed().data);
  for (int d = 0; d < nothing.rank; ++d) EXPECT_EQ(nullptr, nothing.slice(d, 2, 2).data) << d;
}

}  // namespace
}  // namespace octavo
