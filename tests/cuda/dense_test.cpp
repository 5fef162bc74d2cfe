// SPDX-License-Identifier: Apache-2.0
// The dense kernel through the simulator: bit for bit section 3 on the tensor cores' sums, whatever
// the shape, in every schedule.
#include "dense_kit.hpp"

namespace octavo::test {
namespace {

template <MmaType type, Summing summing = Summing::plain>
void expect_exact(int m, int n, int k, std::uint32_t clusters, std::uint64_t seeds = 1) {
  DenseProblem<type, summing> problem(m, n, k);
  const auto params = problem.params();
  std::vector<std::uint16_t> want;
  for (int r = 0; r < m; ++r)
    for (int c = 0; c < n; ++c) want.push_back(problem.expected(r, c));
  for (const Options& options : schedules(seeds)) {
    problem.poison();
    ASSERT_EQ("", fault_of(problem.launch(clusters), options,
                           [&](Machine machine) { Dense<type, summing>::run(machine, params); }));
    for (int r = 0; r < m; ++r) {
      for (int c = 0; c < n; ++c) {
        ASSERT_EQ(want[static_cast<std::size_t>(r * n + c)], problem.got(r, c))
            << m << 'x' << n << 'x' << k << " at " << r << ", " << c << ", seed " << options.seed;
      }
    }
  }
}

TEST(Dense, Int8OfEveryKindOfShape) {
  expect_exact<MmaType::s8_s8>(256, 256, 512, 1);
  expect_exact<MmaType::s8_s8>(300, 520, 400, 2);   // ragged: two rows, three columns of tiles
  expect_exact<MmaType::s8_s8>(1, 8, 16, 1);        // one row, one step
  expect_exact<MmaType::s8_s8>(130, 264, 1000, 3);  // a cluster without a tile
}

TEST(Dense, Fp8Promoted) {
  expect_exact<MmaType::e4m3_e4m3, Summing::promoted>(260, 136, 1040, 1);
  expect_exact<MmaType::e4m3_e5m2, Summing::promoted>(1, 8, 16, 1);
}

TEST(Dense, Fp8Fast) {
  expect_exact<MmaType::e4m3_e4m3>(130, 264, 400, 1);
  expect_exact<MmaType::e5m2_e5m2>(70, 72, 272, 1);
}

}  // namespace
}  // namespace octavo::test
