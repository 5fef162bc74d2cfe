// SPDX-License-Identifier: Apache-2.0
// The dense kernel through the simulator: bit for bit section 3 on the tensor cores' sums, whatever
// the shape, in every schedule.
#include "full_epilogue_kit.hpp"

namespace octavo::test::dense_test {
namespace {

TEST(Dense, Int8OfEveryKindOfShape) {
  using Int8 = DenseProblem<Dense<MmaType::s8_s8>>;
  expect_exact(Int8(256, 256, 512), 1);
  expect_exact(Int8(300, 520, 400), 2);   // ragged: two rows, three columns of tiles
  expect_exact(Int8(1, 8, 16), 1);        // one row, one step
  expect_exact(Int8(130, 264, 1000), 3);  // a cluster without a tile
}

TEST(Dense, Fp8Promoted) {
  using Fp8 = DenseProblem<Dense<MmaType::e4m3_e4m3, Summing::promoted>>;
  expect_exact(Fp8(260, 136, 1040), 1);
  expect_exact(DenseProblem<Dense<MmaType::e4m3_e5m2, Summing::promoted>>(1, 8, 16), 1);
}

TEST(Dense, Fp8Fast) {
  expect_exact(DenseProblem<Dense<MmaType::e4m3_e4m3>>(130, 264, 400), 1);
  expect_exact(DenseProblem<Dense<MmaType::e5m2_e5m2>>(70, 72, 272), 1);
}

// Two CTAs of a cluster with half of K each, with one row of CTAs and with two; more tiles than
// clusters.
TEST(Dense, KCutInsideACluster) {
  expect_exact(DenseProblem<Dense<MmaType::s8_s8, Summing::plain, 2, 2, 2>>(300, 264, 900), 1);
  expect_exact(DenseProblem<Dense<MmaType::s8_s8, Summing::plain, 2, 1, 2>>(100, 300, 400), 2);
  expect_exact(DenseProblem<Dense<MmaType::e4m3_e4m3, Summing::promoted, 2, 2, 2>>(200, 136, 1100),
               1);
}

// A row's bits depend on neither the kernel nor the batch: who does not cut K sums the same chunks.
// One large step before small ones, so that the order of float32 sums shows.
template <class Problem>
Problem uneven() {
  Problem problem(200, 136, 1100);
  for (int r = 0; r < problem.m; ++r) {
    for (int c = 0; c < problem.k; ++c) {
      std::uint8_t& code = problem.a.at(r, c);
      code = static_cast<std::uint8_t>(c < 128 ? (code & 0x87) | 0x70 : code & 0x8F);
    }
  }
  return problem;
}

TEST(Dense, ChunksOfKGiveTheBitsOfTheKernelThatCutsIt) {
  using Cut = DenseProblem<Dense<MmaType::e4m3_e4m3, Summing::promoted, 2, 2, 2>>;
  using Whole = DenseProblem<Dense<MmaType::e4m3_e4m3, Summing::promoted>>;
  Cut cut = uneven<Cut>();
  Whole whole = uneven<Whole>();
  whole.chunks_of_k = 2;
  ASSERT_EQ(cut.chunk_steps(), whole.chunk_steps());
  expect_exact(whole, 1);
  expect_exact(cut, 1);
  Whole one = uneven<Whole>();
  int differing = 0, same = 0;
  for (int r = 0; r < whole.m; ++r) {
    for (int c = 0; c < whole.n; ++c) {
      differing += one.sum_of(r, c) != whole.sum_of(r, c) ? 1 : 0;
      same += cut.sum_of(r, c) == whole.sum_of(r, c) ? 1 : 0;
    }
  }
  EXPECT_GT(differing, 0);  // that chunks matter
  EXPECT_EQ(whole.m * whole.n, same);
}

// Tiles of two groups' rows, each with half of B's; those of nobody stay as they are.
template <class Kernel>
void expect_groups() {
  using Problem = DenseProblem<Kernel>;
  constexpr int kColumns = 40, kEnd = 290;
  Problem problem(300, 2 * kColumns, 400);
  const std::int32_t count = 3;
  const cuda::RowTile tiles[] = {{0, 30, 0}, {30, 286, 1}, {286, kEnd, 1}};
  auto params = problem.full_params();
  params.n = kColumns;
  params.groups = {&count, tiles, kColumns};
  constexpr bool kInteger = cuda::is_integer(Kernel::kType);
  TypedArray out(kInteger ? DType::int32 : DType::float32, problem.m * kColumns);
  params.full.out.dtype = out.dtype();
  params.full.out.strides = {kColumns, 1};
  const TypedArray poison = out;
  std::vector<std::uint32_t> want;
  for (int i = 0; i < kEnd; ++i)
    for (int j = 0; j < kColumns; ++j)
      want.push_back(std::bit_cast<std::uint32_t>(problem.sum_of(i, (i < 30 ? 0 : kColumns) + j)));
  for (const Options& options : schedules(1)) {
    out = poison;
    params.full.out.data = out.data();
    ASSERT_EQ("", fault_of(problem.launch(2), options,
                           [&](Machine machine) { Kernel::run(machine, params); }));
    for (std::int64_t i = 0; i < out.count(); ++i)
      ASSERT_EQ(i < kEnd * kColumns ? want[static_cast<std::size_t>(i)] : 0xEEEEEEEEU, out.bits(i))
          << i / kColumns << ", " << i % kColumns << ", seed " << options.seed;
  }
}
TEST(Dense, TilesOfGroups) {
  expect_groups<Dense<MmaType::s8_s8, Summing::plain, 4>>();
  expect_groups<Dense<MmaType::e4m3_e4m3, Summing::promoted, 4>>();
}

}  // namespace
}  // namespace octavo::test::dense_test
