// SPDX-License-Identifier: Apache-2.0
// Every rule of the machine, broken by a kernel of a few lines: each schedule reports it by name.
#include <cstdint>

#include "backends/cuda/machine/layout.hpp"
#include "simulator_kit.hpp"

namespace octavo::test {
namespace {

using cuda::MmaType;
using u32 = std::uint32_t;

constexpr u32 kBar = 32768;  // where these kernels keep an mbarrier

// A tile of 64 rows by 128 bytes that is loaded once: what most of these kernels begin with.
struct Tile {
  ByteMatrix bytes{64, 128};
  TensorMap map = bytes.map(64);
};

void make_barrier(Machine& m, u32 count = 1) {
  if (m.tid() == 0) {
    m.mbarrier_init(kBar, count);
    m.fence_mbarrier_init();
  }
  m.cluster_sync();
}

void load_tile(Machine& m, const TensorMap& map, u32 to = 0) {
  m.mbarrier_expect(kBar, 64 * 128);
  m.tma_load(map, to, kBar, 0, 0);
}

void multiply_tile(Machine& m, std::int32_t (&sums)[32]) {
  m.wgmma<MmaType::s8_s8, 64>(sums, cuda::tile_descriptor(0), cuda::tile_descriptor(0), false);
}

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

// --- mbarriers ---

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

// --- wgmma ---

// Warps 0 to 3 with a tile that has landed and been multiplied by `kernel`.
template <class Kernel>
auto with_tile(const TensorMap& map, const Kernel& kernel) {
  return [&map, kernel](Machine m) {
    make_barrier(m);
    if (m.tid() == 0) load_tile(m, map);
    m.mbarrier_wait(kBar, 0);
    kernel(m);
  };
}

TEST(Faults, WgmmaWithoutAFence) {
  Tile tile;
  expect_fault(threads(128), "without wgmma.fence", with_tile(tile.map, [](Machine m) {
                 std::int32_t sums[32];
                 multiply_tile(m, sums);
               }));
  expect_fault(threads(128), "without wgmma.fence", with_tile(tile.map, [](Machine m) {
                 std::int32_t sums[32];
                 for (int i = 0; i < 2; ++i) {
                   if (i == 0) m.wgmma_fence();
                   multiply_tile(m, sums);
                   m.wgmma_commit();
                   m.wgmma_wait<0>(sums);
                 }
               }));
}

TEST(Faults, SumsTouchedWhileWgmmaHasThem) {
  Tile tile;
  expect_fault(threads(128), "while wgmma had it", with_tile(tile.map, [](Machine m) {
                 std::int32_t sums[32] = {};
                 m.wgmma_fence();
                 multiply_tile(m, sums);
                 m.wgmma_commit();
                 sums[3] += 1;
                 m.wgmma_wait<0>(sums);
               }));
}

TEST(Faults, WgmmaThatIsNotCommitted) {
  Tile tile;
  expect_fault(threads(128), "has not committed", with_tile(tile.map, [](Machine m) {
                 std::int32_t sums[32];
                 m.wgmma_fence();
                 multiply_tile(m, sums);
                 m.wgmma_wait<0>(sums);
               }));
}

TEST(Faults, WarpsThatIssueDifferentProducts) {
  Tile tile;
  expect_fault(threads(128), "another wgmma", with_tile(tile.map, [](Machine m) {
                 std::int32_t sums[32];
                 m.wgmma_fence();
                 m.wgmma<MmaType::s8_s8, 64>(
                     sums, cuda::tile_descriptor(0),
                     cuda::tile_descriptor(0) + (m.warp() == 2 ? cuda::kDescriptorStep : 0), false);
               }));
}

TEST(Faults, LanesThatIssueDifferentProducts) {
  Tile tile;
  expect_fault(threads(128), "with other operands", with_tile(tile.map, [](Machine m) {
                 std::int32_t sums[32];
                 m.wgmma_fence();
                 m.wgmma<MmaType::s8_s8, 64>(sums, cuda::tile_descriptor(0),
                                             cuda::tile_descriptor(0), m.lane() == 5);
               }));
}

TEST(Faults, DescriptorsThatNoTileHas) {
  expect_fault(threads(128), "must begin at a multiple of 1024", [](Machine m) {
    std::int32_t sums[32];
    m.wgmma_fence();
    m.wgmma<MmaType::s8_s8, 64>(sums, cuda::tile_descriptor(512), cuda::tile_descriptor(0), false);
  });
  expect_fault(threads(128), "swizzle", [](Machine m) {
    std::int32_t sums[32];
    m.wgmma_fence();
    m.wgmma<MmaType::s8_s8, 64>(sums, cuda::tile_descriptor(0) ^ std::uint64_t{3} << 62,
                                cuda::tile_descriptor(0), false);
  });
}

TEST(Faults, ACopyOverOperandsThatWgmmaReads) {
  Tile tile;
  expect_fault(threads(128), "asynchronous reads of it are in flight",
               with_tile(tile.map, [&](Machine m) {
                 std::int32_t sums[32];
                 m.wgmma_fence();
                 multiply_tile(m, sums);
                 m.wgmma_commit();
                 m.sync_named(0, 128);
                 if (m.tid() == 0) load_tile(m, tile.map);
                 m.sync_named(0, 128);
                 m.wgmma_wait<0>(sums);
               }));
}

// --- ends ---

TEST(Faults, LanesThatDoNotMeet) {
  expect_fault(threads(32), "deadlock: in shfl.sync", [](Machine m) {
    if (m.lane() < 31) m.shuffle(1U, 0);
  });
  expect_fault(threads(32), "while others that it meets are in", [](Machine m) {
    if (m.lane() < 16) {
      m.sync_warp();
    } else {
      m.shuffle(1U, 0);
    }
  });
}

TEST(Faults, AnArrivalAtACtaThatHasEnded) {
  bool found = false;
  for (const Options& options : schedules()) {
    const std::string fault = fault_of(cluster(2, 32), options, [](Machine m) {
      make_barrier(m, 32);
      if (m.cta_rank() == 0) m.mbarrier_arrive_cluster(kBar, 1);
    });
    found = found || fault.find("has ended") != std::string::npos ||
            fault.find("after it has ended") != std::string::npos;
    if (options.landing == Landing::late) {
      EXPECT_NE("", fault);
    }
  }
  EXPECT_TRUE(found);
}

TEST(Faults, ACtaThatEndsBeforeItsCopies) {
  Tile tile;
  bool found = false;
  for (const Options& options : schedules()) {
    const std::string fault = fault_of(threads(32), options, [&](Machine m) {
      make_barrier(m);
      if (m.lane() == 0) load_tile(m, tile.map);
    });
    found = found || fault.find("are in flight") != std::string::npos;
    if (options.landing == Landing::late) {
      EXPECT_NE("", fault);
    }
  }
  EXPECT_TRUE(found);
}

TEST(Faults, AThreadThatEndsWithWorkOfItsOwn) {
  Tile tile;
  expect_fault(threads(128), "ends while wgmmas are in flight", with_tile(tile.map, [](Machine m) {
                 std::int32_t sums[32];
                 m.wgmma_fence();
                 multiply_tile(m, sums);
                 m.wgmma_commit();
               }));
  alignas(16) static std::uint8_t zeros[16] = {};
  expect_fault(threads(32), "that it has not waited for",
               [](Machine m) { m.cp_async16(m.lane() * 16, zeros, 16); });
}

TEST(Faults, RegistersThatNobodyGivesUp) {
  Launch launch = threads(384);
  launch.registers = 168;
  expect_fault(launch, "in setmaxnreg.inc to 240 at", [](Machine m) {
    if (m.warp() >= 4) m.registers_increase<240>();
  });
}

TEST(Faults, MapsThatTmaDoesNotTake) {
  Tile tile;
  struct Case {
    const char* words;
    void (*change)(TensorMap&);
  };
  const Case cases[] = {
      {"pitch[1] must be a multiple of 16", [](TensorMap& map) { map.pitch[1] = 120; }},
      {"box[1] must be from 1 to 256", [](TensorMap& map) { map.box[1] = 257; }},
      {"must have 128 bytes", [](TensorMap& map) { map.box[0] = 64; }},
      {"extent[1] must be from 1", [](TensorMap& map) { map.extent[1] = 0; }},
      {"base must be a multiple of 16",
       [](TensorMap& map) { map.base = static_cast<char*>(map.base) + 8; }},
      {"of 2 dimensions through a tensor map of 3", [](TensorMap& map) { map.rank = 3; }},
  };
  for (const Case& c : cases) {
    TensorMap map = tile.map;
    c.change(map);
    expect_fault(threads(32), c.words, [&](Machine m) {
      make_barrier(m);
      if (m.lane() == 0) load_tile(m, map);
    });
  }
  expect_fault(threads(32), "must lie at a multiple of 1024", [&](Machine m) {
    make_barrier(m);
    if (m.lane() == 0) load_tile(m, tile.map, 512);
  });
}

TEST(Faults, AFaultNamesItsPlaceAndHowToRepeatIt) {
  Options options;
  options.seed = 42;
  options.landing = Landing::random;
  const std::string fault =
      fault_of(threads(32), options, [](Machine m) { m.load_shared<u32>(m.lane() * 4); });
  EXPECT_EQ(0U, fault.find("faults_test.cpp:")) << fault;
  EXPECT_NE(std::string::npos, fault.find("[seed 42, landing random]")) << fault;
}

TEST(Faults, Fp8ByMmaSyncOfADeviceOf8) {
  Options options;
  options.ampere = true;
  const std::string fault = fault_of(threads(32), options, [](Machine m) {
    const u32 a[4] = {}, b[2] = {};
    float sums[4] = {};
    m.mma_sync<cuda::MmaType::e4m3_e4m3>(sums, a, b);
  });
  EXPECT_NE(std::string::npos, fault.find("mma.sync of fp8 on a device of 8.0")) << fault;
}

}  // namespace
}  // namespace octavo::test
