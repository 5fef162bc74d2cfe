// SPDX-License-Identifier: Apache-2.0
// The clock of the simulator beside that of a device: cycles of small kernels that take the time of
// one thing each.
#include <gtest/gtest.h>

#include <cstdio>

#include "gpu/clock_runner.hpp"

namespace octavo::test::clock_test {
namespace {

constexpr std::int64_t kInL2 = std::int64_t{8} << 20, kInMemory = std::int64_t{4} << 30;

struct Row {
  const char* what;
  ClockRun run;
  double h200;  // cycles that an H200 took at 1.98 GHz
};
constexpr Row kRows[] = {
    {"a box of 1 KiB, of L2", {ClockProbe::box, false, kInL2}, 489},
    {"boxes of 16 KiB, of L2, everywhere", {ClockProbe::boxes, true, kInL2}, 443},
    {"boxes of 16 KiB, of memory, everywhere", {ClockProbe::boxes, true, kInMemory}, 967},
    {"boxes of 8 KiB, of memory, everywhere", {ClockProbe::small_boxes, true, kInMemory}, 462},
    {"from warp to warp and back", {ClockProbe::barrier, false, kInL2}, 384},
    {"from CTA to CTA and back", {ClockProbe::remote, false, kInL2}, 382},
    {"a product of 64x128x32", {ClockProbe::product, false, kInL2}, 131},
    {"17 of them", {ClockProbe::products, false, kInL2}, 1153},
    {"17 of 64x16x32", {ClockProbe::narrow_products, false, kInL2}, 382},
    {"a panel of 8 KiB, stored", {ClockProbe::store, false, kInL2}, 282},
};

// The simulator's constants are fitted to these, and a Hopper device is near them.
TEST(HardwareClock, OfOneThingEach) {
  warm_up();
  std::printf("cycles on %s, and on an H200:\n", clock_of());
  for (const Row& row : kRows) {
    const double cycles = cycles_of(row.run);
    std::printf("  %-40s %8.1f %8.1f\n", row.what, cycles, row.h200);
    EXPECT_GT(cycles, row.h200 / kClockFactor) << row.what;
    EXPECT_LT(cycles, row.h200 * kClockFactor) << row.what;
  }
}

}  // namespace
}  // namespace octavo::test::clock_test
