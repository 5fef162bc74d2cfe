// SPDX-License-Identifier: Apache-2.0
// What the simulator's clock says of kernels: how busy tensor cores are, on a few clusters that
// share L2 and memory as all would.
#include <cstdio>

#include "dense_kit.hpp"

namespace octavo::test {
namespace {

// Of every tensor core's time, how much it multiplied. Of the launch's clusters `readers` times as
// many as here read a box while it is in L2: its way from memory is shared by them.
template <MmaType type, Summing summing>
double busy(int m, int n, int k, std::uint32_t clusters, int readers) {
  using Problem = DenseProblem<type, summing>;
  Problem problem(m, n, k);
  const auto params = problem.params();
  Options options;
  options.timed = true;
  options.arithmetic = false;
  options.clock.hbm_bytes *= readers;
  Launch launch = Problem::launch(clusters);
  launch.resident = clusters;
  const Counters counters = cuda::simulator::simulate(
      launch, options, [&](Machine machine) { Problem::Kernel::run(machine, params); });
  const double share = counters.tensor_cycles / counters.cycles;
  std::printf("dense %dx%dx%d on %u clusters: %.0f cycles, tensor cores busy %.3f\n", m, n, k,
              clusters, counters.cycles, share);
  return share;
}

TEST(Clock, LargeProductsKeepTensorCoresBusy) {
  // Tiles of 8192^3: a cluster takes sixteen there, three here.
  EXPECT_GE((busy<MmaType::s8_s8, Summing::plain>(1024, 768, 8192, 4, 8)), 0.93);
  EXPECT_GE((busy<MmaType::e4m3_e4m3, Summing::promoted>(1024, 384, 8192, 4, 8)), 0.93);
}

}  // namespace
}  // namespace octavo::test
