// SPDX-License-Identifier: Apache-2.0
// What the simulator's clock says of kernels: how busy tensor cores are, on a few clusters that
// share L2 and memory as all would.
#include <cstdio>

#include "backends/cuda/kernels/sm90/few_rows.hpp"
#include "cuda/kernels/dense_kit.hpp"

namespace octavo::test::clock_test {
namespace {

struct Clocked {
  double busy;  // of the tensor cores' time
  double cycles;
};

// Clusters of a launch, which are `readers` times as many in all: so many read a box while it is in
// L2, and share its way from memory.
template <class Problem>
Clocked run(const char* what, Problem problem, std::uint32_t clusters, double readers) {
  const auto params = problem.params();
  Options options;
  options.timed = true;
  options.arithmetic = false;
  options.clock.hbm_bytes *= readers;
  Launch launch = Problem::launch(clusters);
  launch.resident = clusters;
  const Counters counters = cuda::simulator::simulate(
      launch, options, [&](Machine machine) { Problem::Kernel::run(machine, params); });
  const Clocked clocked{counters.tensor_cycles / counters.cycles, counters.cycles};
  std::printf("%s, %dx%dx%d on %u clusters: %.0f cycles, tensor cores busy %.3f\n", what, problem.m,
              problem.n, problem.k, clusters, clocked.cycles, clocked.busy);
  return clocked;
}

using Int8 = DenseProblem<Dense<MmaType::s8_s8>>;
using Promoted = DenseProblem<Dense<MmaType::e4m3_e4m3, Summing::promoted>>;
using Scaled = DenseProblem<Dense<MmaType::e4m3_e4m3, Summing::scaled>>;
using Int8Cut = DenseProblem<Dense<MmaType::s8_s8, Summing::plain, 2, 1, 2>>;
using PromotedCut = DenseProblem<Dense<MmaType::e4m3_e4m3, Summing::promoted, 2, 1, 2>>;

TEST(Clock, LargeProductsKeepTensorCoresBusy) {
  // Tiles of 8192^3: a cluster takes sixteen there, three here; eight read each box.
  EXPECT_GE(run("int8", Int8(1024, 768, 8192), 4, 8).busy, 0.93);
  // Tiles half as large need 24 KiB of L2 a step: 664 cycles, of which the tensor cores have 512.
  EXPECT_GE(run("fp8 promoted", Promoted(1024, 384, 8192), 4, 8).busy, 0.75);
  EXPECT_GE(run("fp8 by blocks", Scaled(1024, 384, 8192), 4, 8).busy, 0.75);
}

// 256x4096x14336: sixty-four clusters have a tile each; here four, of 256 columns. All of them
// read A, two each box of B.
TEST(Clock, FewRowsFillTheDevice) {
  constexpr double kMicroseconds = 1980;  // cycles
  EXPECT_LE(run("int8, K cut", Int8Cut(256, 256, 14336), 4, 2).cycles, 30 * kMicroseconds);
  EXPECT_LE(run("fp8 promoted, K cut", PromotedCut(256, 256, 14336), 4, 2).cycles,
            30 * kMicroseconds);
}

// Of the time that memory takes for both operands, once.
template <class Problem>
double fraction_of_memory(const char* what, const Problem& problem, std::uint32_t clusters) {
  const Clocked clocked = run(what, problem, clusters, 1);
  const double bytes = (problem.m + problem.n) * static_cast<double>(problem.k * Problem::kBytes);
  const double rate =
      cuda::simulator::ClockModel().hbm_bytes * clusters * Problem::Kernel::kCluster;
  std::printf("%s: %.3f of memory's time\n", what, bytes / rate / clocked.cycles);
  return bytes / rate / clocked.cycles;
}

using cuda::FewRows;
template <int rows>
using Int8Few = DenseProblem<FewRows<MmaType::s8_s8, Summing::plain, 2, rows>>;
template <int rows, int parts = 1>
using PromotedFew = DenseProblem<FewRows<MmaType::e4m3_e4m3, Summing::promoted, 2, rows, parts>>;

// Mx28672x4096: 448 tiles for 132 CTAs; here 17 for five. Every box of B comes from memory.
TEST(Clock, DecodeStepsReadWeightsAtTheSpeedOfMemory) {
  constexpr int kColumns = 17 * 64, kDepth = 4096;
  EXPECT_GE(fraction_of_memory("int8, 1 row", Int8Few<16>(1, kColumns, kDepth), 5), 0.95);
  EXPECT_GE(fraction_of_memory("int8, 16 rows", Int8Few<16>(16, kColumns, kDepth), 5), 0.95);
  EXPECT_GE(fraction_of_memory("int8, 64 rows", Int8Few<64>(64, kColumns, kDepth), 5), 0.9);
  EXPECT_GE(fraction_of_memory("fp8, 1 row", PromotedFew<16>(1, kColumns, kDepth), 5), 0.95);
  EXPECT_GE(fraction_of_memory("fp8, 16 rows", PromotedFew<16>(16, kColumns, kDepth), 5), 0.95);
  EXPECT_GE(fraction_of_memory("fp8, 64 rows", PromotedFew<64>(64, kColumns, kDepth), 5), 0.9);
  using ByBlocks = DenseProblem<FewRows<MmaType::e4m3_e4m3, Summing::scaled, 2, 16>>;
  EXPECT_GE(fraction_of_memory("fp8 by blocks, 1 row", ByBlocks(1, kColumns, kDepth), 5), 0.93);
  // Mx4096x4096: 64 tiles, of two CTAs each; here eight.
  EXPECT_GE(fraction_of_memory("fp8, 64 rows, K cut", PromotedFew<64, 2>(64, 512, kDepth), 8),
            0.75);
}

}  // namespace
}  // namespace octavo::test::clock_test
