// SPDX-License-Identifier: Apache-2.0
// Every instance of the dense kernel on every kind of shape, with every output, in three landings
// of three seeds each; those that finish sums, with every epilogue.
#include "full_epilogue_kit.hpp"

namespace octavo::test::instances_test {
namespace {

template <class Kernel>
void every_shape() {
  constexpr int kBytes = cuda::element_bytes(Kernel::kType);
  constexpr int kLeast = Kernel::kParts * 128 / kBytes;  // K of which each part has some
  struct Shape {
    int m, n, k;
    std::uint32_t clusters;
  };
  const Shape shapes[] = {
      {256, 256, 2 * kLeast, 1},       // aligned
      {300, 280, 3 * kLeast + 16, 2},  // ragged, more tiles than one
      {1, 8, kLeast + 16, 1},          // one row
      {33, 72, kLeast / 2 + 16, 1},    // K short of a step, or of one a part
  };
  for (const Shape& s : shapes)
    expect_every_output(DenseProblem<Kernel>(s.m, s.n, s.k), s.clusters);
  if constexpr (Kernel::kOutBytes == 4)
    expect_every_epilogue<DenseProblem<Kernel>>(140, 74, kLeast - 16,
                                                1);  // two CTAs, tails of four columns
}

#define OCTAVO_DENSE_INSTANCE(name, type, summing, ...)                       \
  TEST(Instances, name) {                                                     \
    every_shape<cuda::Dense<MmaType::type, Summing::summing, __VA_ARGS__>>(); \
  }
#include "backends/cuda/kernels/sm90/dense_instances.inc"

}  // namespace
}  // namespace octavo::test::instances_test
