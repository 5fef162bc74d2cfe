// SPDX-License-Identifier: Apache-2.0
// Every rule of the machine, broken by a kernel of a few lines: each schedule reports it by name.
// Here: of memory.
#include "faults_kit.hpp"

namespace octavo::test::memory_faults_test {
namespace {

// --- copies that land ---

TEST(Faults, ReadingBeforeACopyHasLanded) {
  Tile tile;
  const auto reads_early = [&](Machine m) {
    make_barrier(m);
    if (m.tid() == 0) load_tile(m, tile.map);
    m.sync_warp();
    m.load_shared<u32>(m.lane() * 4);
    m.mbarrier_wait(kBar, 0);
  };
  for (const Options& options : schedules()) {
    const std::string fault = fault_of(threads(32), options, reads_early);
    // Landed early or not: nothing orders the read after the copy.
    EXPECT_TRUE(fault.find("while a copy lands there") != std::string::npos ||
                fault.find("race: a load") != std::string::npos)
        << fault;
  }
}

TEST(Faults, StoringWhereACopyLands) {
  Tile tile;
  for (const Options& options : schedules()) {
    const std::string fault = fault_of(threads(32), options, [&](Machine m) {
      make_barrier(m);
      if (m.tid() == 0) load_tile(m, tile.map);
      m.sync_warp();
      m.store_shared<u32>(m.lane() * 4, 0);
      m.mbarrier_wait(kBar, 0);
    });
    EXPECT_TRUE(fault.find("while a copy lands there") != std::string::npos ||
                fault.find("race: a store") != std::string::npos)
        << fault;
  }
}

TEST(Faults, ACopyIntoWhatOthersRead) {
  Tile tile;
  // Warp 1 reads the first tile; warp 0 loads the second one without waiting for that.
  expect_fault(threads(64), "race: an asynchronous copy", [&](Machine m) {
    make_barrier(m);
    if (m.tid() == 0) load_tile(m, tile.map);
    m.mbarrier_wait(kBar, 0);
    if (m.warp() == 1) m.load_shared<u32>(m.lane() * 4);
    m.sync_named(1 + m.warp(), 32);
    if (m.warp() == 0 && m.lane() == 0) {
      load_tile(m, tile.map);
      m.mbarrier_wait(kBar, 1);
    }
  });
}

TEST(Faults, TwoCopiesToOnePlace) {
  Tile tile;
  for (const Options& options : schedules()) {
    const std::string fault = fault_of(threads(32), options, [&](Machine m) {
      make_barrier(m);
      if (m.tid() != 0) return;
      m.mbarrier_expect(kBar, 2 * 64 * 128);
      m.tma_load(tile.map, 0, kBar, 0, 0);
      m.tma_load(tile.map, 0, kBar, 0, 0);
      m.mbarrier_wait(kBar, 0);
    });
    EXPECT_NE(std::string::npos, fault.find("an asynchronous copy")) << fault;
  }
}

TEST(Faults, ReadingWhatNothingWrote) {
  expect_fault(threads(32), "which nothing has written",
               [](Machine m) { m.load_shared<u32>(m.lane() * 4); });
}

// --- races of ordinary accesses ---

TEST(Faults, ReadAfterWriteWithoutABarrier) {
  for (const Options& options : schedules()) {
    const std::string fault = fault_of(threads(64), options, [](Machine m) {
      if (m.warp() == 0) m.store_shared<u32>(m.lane() * 4, 1);
      if (m.warp() == 1) m.load_shared<u32>(m.lane() * 4);
    });
    // By what came first: nothing was there, or a race with what was.
    EXPECT_TRUE(fault.find("race: a load") != std::string::npos ||
                fault.find("nothing has written") != std::string::npos)
        << fault;
  }
}

TEST(Faults, WriteAfterReadWithoutABarrier) {
  expect_fault(threads(64), "race:", [](Machine m) {
    if (m.warp() == 0) m.store_shared<u32>(m.lane() * 4, 1);
    m.sync_named(0, 64);
    if (m.warp() == 0) m.store_shared<u32>(m.lane() * 4, 2);
    if (m.warp() == 1) m.load_shared<u32>(m.lane() * 4);
  });
}

TEST(Faults, WriteAfterWriteWithoutABarrier) {
  expect_fault(threads(64), "race: a store",
               [](Machine m) { m.store_shared<u32>(m.lane() * 4, m.warp()); });
}

TEST(Faults, AnArrivalWithoutReleaseAtAnotherCtaCarriesNoStores) {
  for (const bool releases : {false, true}) {
    const auto kernel = [&](Machine m) {
      make_barrier(m);
      const u32 peer = 1 - m.cta_rank();
      if (m.lane() == 0) {
        m.store_cluster<u32>(64, peer, 1);
        if (releases) {
          m.mbarrier_arrive_cluster_release(kBar, peer);
        } else {
          m.mbarrier_arrive_cluster(kBar, peer);
        }
        m.mbarrier_wait(kBar, 0);  // .acquire.cta: not enough for the other CTA's stores
        m.load_shared<u32>(64);
      }
      m.cluster_sync();
    };
    expect_fault(cluster(2, 32), "race: a load", kernel);
  }
}

TEST(Faults, AccessesThatAreNotAligned) {
  expect_fault(threads(32), "is not aligned",
               [](Machine m) { m.store_shared<u32>(m.lane() * 4 + 2, 1); });
  expect_fault(threads(32), "is not aligned",
               [](Machine m) { m.store_shared<double>(m.lane() * 8 + 4, 1); });
}

TEST(Faults, AccessesPastTheEnd) {
  expect_fault(threads(32, 64), "which has 64",
               [](Machine m) { m.store_shared<u32>(m.lane() * 4, 1); });
}

// --- proxies ---

TEST(Faults, AStoreThatTheAsynchronousProxyReadsWithoutAFence) {
  ByteMatrix to(64, 128);
  const TensorMap map = to.map(64);
  expect_fault(threads(32), "without fence.proxy.async", [&](Machine m) {
    for (u32 i = 0; i < 64; ++i) m.store_shared<u32>(i * 128 + m.lane() * 4, i);
    m.sync_warp();
    if (m.lane() == 0) {
      m.tma_store(map, 0, 0, 0);
      m.tma_store_commit();
      m.tma_store_wait_read<0>();
    }
  });
}

TEST(Faults, OneThreadsFenceDoesNotServeAnothers) {
  ByteMatrix to(64, 128);
  const TensorMap map = to.map(64);
  expect_fault(threads(32), "without fence.proxy.async", [&](Machine m) {
    for (u32 i = 0; i < 64; ++i) m.store_shared<u32>(i * 128 + m.lane() * 4, i);
    m.sync_warp();
    if (m.lane() == 0) {
      m.fence_async();
      m.tma_store(map, 0, 0, 0);
    }
  });
}

TEST(Faults, AFenceAfterTheBarrier) {
  ByteMatrix to(64, 128);
  const TensorMap map = to.map(64);
  // In some schedules the fences come in time; what orders them is missing in all.
  for (const Options& options : schedules()) {
    const std::string fault = fault_of(threads(64), options, [&](Machine m) {
      for (u32 i = m.warp(); i < 64; i += 2) m.store_shared<u32>(i * 128 + m.lane() * 4, i);
      m.sync_named(0, 64);
      m.fence_async();
      if (m.tid() == 0) {
        m.tma_store(map, 0, 0, 0);
        m.tma_store_commit();
        m.tma_store_wait_read<0>();
      }
    });
    EXPECT_TRUE(fault.find("without fence.proxy.async") != std::string::npos ||
                fault.find("race: a TMA store") != std::string::npos)
        << fault;
  }
}

TEST(Faults, WgmmaReadsWhatThreadsStoredWithoutAFence) {
  expect_fault(threads(128), "without fence.proxy.async", [](Machine m) {
    for (u32 i = m.warp(); i < 64; i += 4) m.store_shared<u32>(i * 128 + m.lane() * 4, i);
    m.sync_named(0, 128);
    std::int32_t sums[32];
    m.wgmma_fence();
    multiply_tile(m, sums);
  });
}

TEST(Faults, CopiesOfThreadsAreStoresOfThreads) {
  alignas(16) static std::uint8_t zeros[16] = {};
  expect_fault(threads(128), "without fence.proxy.async", [](Machine m) {
    for (u32 i = m.tid(); i < 512; i += 128) m.cp_async16(i * 16, zeros, 16);
    m.cp_async_commit();
    m.cp_async_wait<0>();
    m.sync_named(0, 128);
    std::int32_t sums[32];
    m.wgmma_fence();
    multiply_tile(m, sums);
  });
}

TEST(Faults, StagingUsedAgainWhileAStoreReadsIt) {
  ByteMatrix to(64, 128);
  const TensorMap map = to.map(64);
  for (const Options& options : schedules()) {
    const std::string fault = fault_of(threads(32), options, [&](Machine m) {
      for (u32 i = 0; i < 64; ++i) m.store_shared<u32>(i * 128 + m.lane() * 4, i);
      m.fence_async();
      m.sync_warp();
      if (m.lane() == 0) {
        m.tma_store(map, 0, 0, 0);
        m.tma_store_commit();
      }
      m.sync_warp();
      m.store_shared<u32>(m.lane() * 4, 7);
    });
    EXPECT_NE(std::string::npos, fault.find("asynchronous reads of it are in flight")) << fault;
  }
}

}  // namespace
}  // namespace octavo::test::memory_faults_test
