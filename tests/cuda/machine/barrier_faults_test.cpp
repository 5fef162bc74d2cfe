// SPDX-License-Identifier: Apache-2.0
// Every rule of the machine, broken by a kernel of a few lines: each schedule reports it by name.
// Here: of mbarriers.
#include "faults_kit.hpp"

namespace octavo::test::barrier_faults_test {
namespace {

TEST(Faults, BarriersBeforeTheirInit) {
  expect_fault(threads(32), "before its init", [](Machine m) { m.mbarrier_arrive(kBar); });
}

TEST(Faults, ABarrierWhoseInitIsNotKnown) {
  for (const Options& options : schedules()) {
    const std::string fault = fault_of(threads(64), options, [](Machine m) {
      if (m.tid() == 0) m.mbarrier_init(kBar, 64);
      m.mbarrier_arrive(kBar);
    });
    EXPECT_TRUE(fault.find("before its init") != std::string::npos ||
                fault.find("orders that after its init") != std::string::npos)
        << fault;
  }
}

TEST(Faults, ABarrierThatTheClusterHasNotBeenShown) {
  Tile tile;
  expect_fault(cluster(2, 32), "without fence.mbarrier_init", [](Machine m) {
    if (m.lane() == 0) m.mbarrier_init(kBar, 1);
    m.cluster_sync();
    if (m.lane() == 0) m.mbarrier_arrive_cluster(kBar, 1 - m.cta_rank());
    m.cluster_sync();
  });
  expect_fault(threads(32), "without fence.mbarrier_init", [&](Machine m) {
    if (m.lane() == 0) {
      m.mbarrier_init(kBar, 1);
      load_tile(m, tile.map);
    }
  });
}

TEST(Faults, TooManyArrivals) {
  expect_fault(threads(32), "more than 1 arrivals", [](Machine m) {
    make_barrier(m, 1);
    if (m.lane() == 0) {
      m.mbarrier_expect(kBar, 16);  // the phase stays open for its bytes
      m.mbarrier_arrive(kBar);
    }
  });
}

TEST(Faults, MoreBytesThanABarrierCounts) {
  expect_fault(threads(32), "it can count to 2^20 - 1", [](Machine m) {
    make_barrier(m, 2);
    if (m.lane() == 0) {
      m.mbarrier_expect(kBar, 1 << 19);
      m.mbarrier_expect(kBar, 1 << 19);
    }
  });
}

TEST(Faults, AWaitThatIsOvertaken) {
  // Warp 1 misses a phase unless it keeps pace with warp 0: it waits for ever, or is told.
  int found = 0;
  for (const Options& options : schedules()) {
    const std::string fault = fault_of(threads(64), options, [](Machine m) {
      make_barrier(m, 1);
      if (m.warp() == 0) {
        if (m.lane() == 0)
          for (int i = 0; i < 3; ++i) m.mbarrier_arrive(kBar);
      } else {
        for (u32 phase = 0; phase < 3; ++phase) m.mbarrier_wait(kBar, phase & 1);
      }
    });
    const bool known = fault.find("deadlock: in mbarrier wait") != std::string::npos ||
                       fault.find("while it goes through") != std::string::npos;
    EXPECT_TRUE(fault.empty() || known) << fault;
    found += known ? 1 : 0;
  }
  EXPECT_GT(found, 0);
}

TEST(Faults, TheWrongParityWaitsForEver) {
  expect_fault(threads(32), "deadlock: in mbarrier wait(0x8000, parity 1)", [](Machine m) {
    make_barrier(m, 32);
    m.mbarrier_arrive(kBar);
    m.mbarrier_wait(kBar, 0);
    m.mbarrier_wait(kBar, 1);
  });
}

TEST(Faults, BytesThatNeverCome) {
  Tile tile;
  expect_fault(threads(32), "deadlock", [&](Machine m) {
    make_barrier(m);
    if (m.lane() == 0) {
      m.mbarrier_expect(kBar, 64 * 128 + 16);
      m.tma_load(tile.map, 0, kBar, 0, 0);
      m.mbarrier_wait(kBar, 0);
    }
  });
}

TEST(Faults, BarriersAreNotForOtherData) {
  expect_fault(threads(32), "overwrites the mbarrier", [](Machine m) {
    make_barrier(m);
    m.store_shared<u32>(kBar, 1);
  });
  expect_fault(threads(32), "reads the mbarrier", [](Machine m) {
    make_barrier(m);
    m.load_shared<u32>(kBar + 4);
  });
}

}  // namespace
}  // namespace octavo::test::barrier_faults_test
