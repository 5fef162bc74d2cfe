// SPDX-License-Identifier: Apache-2.0
// What tests of the CUDA backend on the simulated driver share.
#pragma once
#include <gtest/gtest.h>

#include <cstddef>
#include <string>

#include "cuda/device_kit.hpp"
#include "octavo/octavo.hpp"
#include "ops/helpers.hpp"
#include "support/devices/simulated_driver.hpp"

namespace octavo::test {

class CudaBackend : public testing::Test {
 protected:
  void SetUp() override {
    reset_simulated_driver();
    used_ = allocated_bytes();
  }
  void TearDown() override { reset_simulated_driver(); }

  static constexpr std::int64_t kM = 20, kN = 48, kK = 64;
  Tensor a_ = integers(int8, {kM, kK}, 1);
  Tensor b_ = integers(int8, {kN, kK}, 2);  // rows of K: what TMA takes
  std::size_t used_ = 0;

  Tensor want() const { return scaled_mm(a_, b_.transposed(), {.scale_a = 0.5}); }
  // One call on a device, with the weight there as rows of K.
  static Tensor multiply(const Tensor& a, const Tensor& b, const ExecContext& context = {}) {
    return scaled_mm(a, b.transposed(), {.scale_a = 0.5}, context);
  }
};

// The sentence that a call fails with; empty where it does not.
template <class Call>
std::string failure(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}
inline void expect_part(const std::string& sentence, const std::string& part) {
  EXPECT_NE(sentence.find(part), std::string::npos) << sentence << "\nhas no: " << part;
}

}  // namespace octavo::test
