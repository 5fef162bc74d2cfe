// SPDX-License-Identifier: Apache-2.0
// Shapes that fill a device, which a simulator takes hours for.
#include <gtest/gtest.h>

#include "cuda/device_kit.hpp"
#include "octavo/octavo.hpp"
#include "ops/helpers.hpp"

namespace octavo::test::large_test {
namespace {

struct Shape {
  std::int64_t m, n, k;
};

// Exact sums have one answer: the general kernels', which the reference has checked where it can.
TEST(LargeProducts, OfIntegersAreThoseOfTheGeneralKernel) {
  for (const auto& [m, n, k] :
       {Shape{1000, 1100, 900}, Shape{513, 8192, 4096}, Shape{1, 28672, 4096},
        Shape{64, 4100, 14336}, Shape{300, 4096, 14336}, Shape{4096, 4096, 4096}}) {
    SCOPED_TRACE(std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k));
    const Tensor a = to_device(integers(int8, {m, k}, 1)), b = to_device(integers(int8, {n, k}, 2));
    const Tensor rows = to_device(uniforms(float32, {m, 1}, 3));
    const Tensor columns = to_device(uniforms(float32, {1, n}, 4));
    ScaledMmOptions options{.scale_a = rows, .scale_b = columns, .out_dtype = bfloat16};
    options.backend = "sm90";
    const Tensor got = scaled_mm(a, b.transposed(), options);
    options.backend = "cuda";
    expect_same_bits(to_host(got), to_host(scaled_mm(a, b.transposed(), options)));
  }
}

// A row's bits depend on no other row, whichever kernel the number of rows has chosen.
TEST(LargeProducts, OfFp8HaveTheSameRowsInEveryBatch) {
  constexpr std::int64_t kMost = 1500;
  for (const auto& [n, k] :
       {std::pair<std::int64_t, std::int64_t>{4096, 14336}, {28672, 4096}, {1030, 1000}}) {
    const Tensor b = to_device(gaussians(bfloat16, {n, k}, 2).to(float8_e4m3fn));
    const Tensor a = to_device(gaussians(bfloat16, {kMost, k}, 1).to(float8_e4m3fn));
    const Tensor all = to_host(scaled_mm(a, b.transposed(), {.out_dtype = float32}));
    for (const std::int64_t m : {1, 16, 63, 65, 200, 512, 513}) {
      SCOPED_TRACE(std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k));
      const Tensor part =
          to_host(scaled_mm(a.view().slice(0, 0, m), b.transposed(), {.out_dtype = float32}));
      expect_same_bits(part, all.view().slice(0, 0, m));
    }
  }
}

}  // namespace
}  // namespace octavo::test::large_test
