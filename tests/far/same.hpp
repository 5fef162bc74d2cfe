// SPDX-License-Identifier: Apache-2.0
// One call on tensors of the host by the reference, and the same on a far device: the same bits.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <deque>
#include <vector>

#include "ops/helpers.hpp"
#include "support/devices/far_device.hpp"
#include "support/same_numbers.hpp"

namespace octavo::test {

/// Where a call's tensors are: as they are, or brought to the device.
class Where {
 public:
  explicit Where(bool far) : far_(far) {}
  /// The tensor there, strides and all; it lives as long as this does.
  const Tensor& operator()(const Tensor& t) {
    return tensors_.emplace_back(far_ ? to_far(t.view()) : t);
  }
  Tensor operator()(const TensorView& v) {
    return tensors_.emplace_back(far_ ? to_far(v) : Tensor::adopt(nullptr, v));
  }
  PackedWeight operator()(const PackedWeight& w) const { return far_ ? to_device(w, kFar) : w; }
  ExpertWeights operator()(const ExpertWeights& w) const { return far_ ? to_device(w, kFar) : w; }
  Quantized operator()(const Quantized& q) {
    return {(*this)(q.data), (*this)(q.scale), q.grid, (*this)(q.azp), q.row0, q.col0};
  }

 private:
  bool far_;
  std::deque<Tensor> tensors_;
};

using Outputs = std::vector<Tensor>;

/// Activations quantised to a type, by default with a scale for each row.
inline ActivationQuant rule_of(DType dtype, const Granularity& granularity = per_token()) {
  ActivationQuant rule;
  rule.spec.dtype = dtype;
  rule.spec.granularity = granularity;
  return rule;
}

/// `call(where)` gives every result of one call. Tensors that it leaves undefined are so on both.
template <class Call>
void expect_same_far(const Call& call) {
  install_far_device();
  Where here(false);
  ASSERT_EQ(setenv("OCTAVO_BACKEND", "reference", 1), 0);
  const Outputs want = call(here);
  ASSERT_EQ(unsetenv("OCTAVO_BACKEND"), 0);
  if (kFarBackend != nullptr) {
    ASSERT_EQ(setenv("OCTAVO_BACKEND", kFarBackend, 1), 0);
  }
  const std::int64_t before = far_work();
  Where there(true);
  const Outputs got = call(there);
  ASSERT_EQ(unsetenv("OCTAVO_BACKEND"), 0);
  EXPECT_GT(far_work(), before);
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    SCOPED_TRACE("result " + std::to_string(i));
    ASSERT_EQ(got[i].defined(), want[i].defined());
    if (!want[i].defined()) continue;
    EXPECT_TRUE(got[i].device() == kFar);
    expect_same_numbers(to_host(got[i]), want[i]);
  }
}

/// All gradients of a product.
inline Outputs all_of(const MatmulGradients& d) {
  return {d.a, d.b, d.bias, d.scale_a, d.scale_b, d.alpha, d.beta, d.c, d.scale_result};
}

}  // namespace octavo::test
