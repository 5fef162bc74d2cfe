// SPDX-License-Identifier: Apache-2.0
// Every instance of the kernel of few rows on every kind of shape, with every output, in three
// landings of three seeds each.
#include "backends/cuda/kernels/sm90/few_rows.hpp"
#include "full_epilogue_kit.hpp"

namespace octavo::test::few_rows_instances_test {
namespace {

template <class Kernel>
void every_shape() {
  constexpr int kBytes = cuda::element_bytes(Kernel::kType);
  constexpr int kLeast = Kernel::kParts * 128 / kBytes;  // K of which each part has some
  constexpr int kMost = Kernel::kRows;
  struct Shape {
    int m, n, k;
    std::uint32_t clusters;
  };
  const Shape shapes[] = {
      {kMost, 64, 2 * kLeast, 1},                       // aligned
      {kMost - 3, 136, 3 * kLeast + 16, 2},             // ragged, more tiles than clusters
      {1, 8, kLeast + 16, 1},                           // one row
      {2, 72, kLeast / 2 + 16, 1},                      // K short of a step, or of one a part
      {3, 72, (Kernel::kStages + 1) * kLeast + 16, 1},  // every stage again and again
  };
  for (const Shape& s : shapes)
    expect_every_output(DenseProblem<Kernel>(s.m, s.n, s.k), s.clusters);
  if constexpr (Kernel::kOutBytes == 4)
    expect_every_epilogue<DenseProblem<Kernel>>(kMost - 3, 138, kLeast - 16,
                                                1);  // tails of four columns
}

#define OCTAVO_FEW_ROWS_INSTANCE(name, type, summing, ...)                      \
  TEST(FewRowsInstances, name) {                                                \
    every_shape<cuda::FewRows<MmaType::type, Summing::summing, __VA_ARGS__>>(); \
  }
#include "backends/cuda/kernels/sm90/few_rows_instances.inc"

}  // namespace
}  // namespace octavo::test::few_rows_instances_test
