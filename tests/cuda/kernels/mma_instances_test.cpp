// SPDX-License-Identifier: Apache-2.0
// Every instance of the kernel of mma.sync on every kind of shape, in three landings of three seeds
// each, with every epilogue.
#include "mma_kit.hpp"

namespace octavo::test::mma_instances_test {
namespace {

template <MmaType type, MmaTile tile, MmaTerms terms>
void every_shape() {
  using Problem = MmaProblem<type, tile, terms>;
  using Kernel = typename Problem::Kernel;
  constexpr int kStep = 128 / cuda::element_bytes(type);
  struct Shape {
    int m, n, k;
    std::uint32_t blocks;
  };
  const Shape shapes[] = {
      {Kernel::kRows, Kernel::kColumns, 2 * kStep, 1},              // aligned
      {Kernel::kRows + 7, Kernel::kColumns + 9, 2 * kStep + 5, 2},  // ragged, more tiles than CTAs
      {1, 8, (Kernel::kStages + 1) * kStep + 16, 1},                // one row, every stage again
      {19, 35, 3, 1},                                               // K short of a piece
  };
  for (const Shape& s : shapes) {
    FullProblem<Problem> problem(s.m, s.n, s.k);
    for (const Options& options : schedules(3))
      problem.expect({DType::float32, DType::float16}, s.blocks, options);
  }
  expect_every_epilogue<Problem>(70, 74, kStep - 16, 1);  // tails of four columns
}

#define OCTAVO_MMA_INSTANCE(name, type, terms)                       \
  TEST(MmaInstances, name##_large) {                                 \
    every_shape<MmaType::type, cuda::kLargeTile, MmaTerms::terms>(); \
  }                                                                  \
  TEST(MmaInstances, name##_small) {                                 \
    every_shape<MmaType::type, cuda::kSmallTile, MmaTerms::terms>(); \
  }
#include "backends/cuda/kernels/sm80/mma_instances.inc"

}  // namespace
}  // namespace octavo::test::mma_instances_test
