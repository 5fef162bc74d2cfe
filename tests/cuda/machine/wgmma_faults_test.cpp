// SPDX-License-Identifier: Apache-2.0
// Every rule of the machine, broken by a kernel of a few lines: each schedule reports it by name.
// Here: of tensor cores.
#include "faults_kit.hpp"

namespace octavo::test::wgmma_faults_test {
namespace {

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
}  // namespace octavo::test::wgmma_faults_test
