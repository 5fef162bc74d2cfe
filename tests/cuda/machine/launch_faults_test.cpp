// SPDX-License-Identifier: Apache-2.0
// Every rule of the machine, broken by a kernel of a few lines: each schedule reports it by name.
// Here: of a launch, its ends, and what a report says.
#include "faults_kit.hpp"

namespace octavo::test::launch_faults_test {
namespace {

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
  EXPECT_EQ(0U, fault.find("launch_faults_test.cpp:")) << fault;
  EXPECT_NE(std::string::npos, fault.find("[seed 42, landing random]")) << fault;
}

}  // namespace
}  // namespace octavo::test::launch_faults_test
