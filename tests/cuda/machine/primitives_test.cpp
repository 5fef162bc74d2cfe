// SPDX-License-Identifier: Apache-2.0
// Every primitive of the simulated machine does what PTX says, in every schedule.
#include <array>
#include <cstdint>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "backends/cuda/machine/layout.hpp"
#include "simulator/arithmetic.hpp"
#include "simulator_kit.hpp"

namespace octavo::test::primitives_test {
namespace {

using cuda::MmaType;
using u32 = std::uint32_t;

TEST(Primitives, AThreadKnowsWhereItIs) {
  Launch launch = cluster(2, 64);
  launch.blocks = 4;
  std::vector<int> seen(4 * 64);
  for (const Options& options : schedules(1)) {
    cuda::simulator::simulate(launch, options, [&](Machine m) {
      EXPECT_EQ(m.tid(), m.warp() * 32 + m.lane());
      EXPECT_EQ(m.block() % 2, m.cta_rank());
      EXPECT_EQ(4U, m.blocks());
      ++seen[m.block() * 64 + m.tid()];
    });
  }
  EXPECT_EQ(std::vector<int>(4 * 64, 3), seen);
}

TEST(Primitives, SharedMemoryOfEveryWidth) {
  struct Pair {
    double a, b;
  };
  expect_right(threads(32), [](Machine m) {
    m.store_shared<u32>(m.lane() * 4, m.lane());
    m.store_shared<double>(128 + m.lane() * 8, m.lane());
    m.store_shared<Pair>(512 + m.lane() * 16, Pair{1.0 * m.lane(), 2.0});
    m.sync_warp();
    const u32 other = 31 - m.lane();
    EXPECT_EQ(other, m.load_shared<u32>(other * 4));
    EXPECT_EQ(other, m.load_shared<double>(128 + other * 8));
    EXPECT_EQ(other, m.load_shared<Pair>(512 + other * 16).a);
  });
}

TEST(Primitives, ShufflesAndElection) {
  expect_right(threads(64), [](Machine m) {
    EXPECT_EQ((m.lane() + 3) % 32 + 100 * m.warp(),
              m.shuffle(m.lane() + 100 * m.warp(), (m.lane() + 3) % 32));
    EXPECT_EQ(1.5F * 7, m.shuffle(1.5F * static_cast<float>(m.lane()), 7));
    EXPECT_EQ(m.lane() == 0, m.elect());
  });
}

TEST(Primitives, EightBitFloatsSaturate) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  expect_right(threads(32), [](Machine m) {
    EXPECT_EQ(0xB87EU, m.pack_e4m3(1000.0F, -1.0F));
    EXPECT_EQ(0xFE7EU, m.pack_e4m3(kInf, -kInf));
    EXPECT_EQ(0x807FU, m.pack_e4m3(-kNan, -0.0F));
    EXPECT_EQ(0x0001U, m.pack_e4m3(0x1.8p-10F, 0x1p-10F));  // half of the least goes to even
    EXPECT_EQ(0xBC7BU, m.pack_e5m2(1e6F, -1.0F));
    EXPECT_EQ(0xFB7BU, m.pack_e5m2(kInf, -kInf));
    EXPECT_EQ(0x807FU, m.pack_e5m2(kNan, -0.0F));
  });
}

TEST(Primitives, HalvesAndBytesOfWords) {
  expect_right(threads(32), [](Machine m) {
    EXPECT_EQ(0x3C007FFFU, m.unpack_e4m3(0x387FU));
    EXPECT_EQ(0x98005F00U, m.unpack_e4m3(0x817EU));  // -2^-9, 448
    EXPECT_EQ(0x42004200U, m.multiply_f16(0x3E004000U, 0x40003E00U));
    EXPECT_EQ(0x00028001U,
              m.multiply_f16(0x00013C01U, 0x40008001U));  // subnormals, to nearest even
    EXPECT_EQ(0x7FFF7C00U, m.multiply_f16(0x7E017BFFU, 0x3C004000U));
    EXPECT_EQ(0x33771144U, m.permute_bytes(0x44332211U, 0x88776655U, 0x2603U));
    EXPECT_EQ(0xFF007788U, m.permute_bytes(0x44332211U, 0x88776655U, 0xF867U));  // signs of two
    EXPECT_EQ(0x3C017BFFU, m.largest_f16(0x3C017BFEU, 0xBC00FBFFU));
    EXPECT_EQ(0x00020001U, m.largest_f16(0x00020000U, 0x80018001U));
  });
}

TEST(Primitives, NamedBarriersOfSomeWarps) {
  expect_right(threads(128), [](Machine m) {
    const u32 half = m.warp() / 2;
    m.store_shared<u32>(m.tid() * 4, m.tid());
    m.sync_named(1 + half, 64);
    const u32 other = half * 64 + 63 - m.tid() % 64;
    EXPECT_EQ(other, m.load_shared<u32>(other * 4));
  });
}

TEST(Primitives, ClustersReadAndWriteEachOther) {
  expect_right(cluster(4, 32), [](Machine m) {
    m.store_shared<u32>(m.lane() * 4, 100 * m.cta_rank() + m.lane());
    m.cluster_sync();
    const u32 next = (m.cta_rank() + 1) % 4;
    EXPECT_EQ(100 * next + m.lane(), m.load_cluster<u32>(m.lane() * 4, next));
    m.store_cluster<u32>(1024 + m.lane() * 4, next, m.cta_rank());
    m.cluster_sync();
    EXPECT_EQ((m.cta_rank() + 3) % 4, m.load_shared<u32>(1024 + m.lane() * 4));
  });
}

TEST(Primitives, MatricesStoredAndLoadedBack) {
  expect_right(threads(32), [](Machine m) {
    const u32 row = m.lane() / 8 * 128 + m.lane() % 8 * 16;
    m.stmatrix4(row, m.lane(), 100 + m.lane(), 200 + m.lane(), 300 + m.lane());
    m.sync_warp();
    // Matrix j, row r, word w is register j of lane 4 r + w.
    for (u32 j = 0; j < 4; ++j)
      EXPECT_EQ(100 * j + m.lane(),
                m.load_shared<u32>(j * 128 + m.lane() / 4 * 16 + m.lane() % 4 * 4));
    u32 r[4];
    m.ldmatrix4(row, r);
    for (u32 j = 0; j < 4; ++j) EXPECT_EQ(100 * j + m.lane(), r[j]);
  });
}

TEST(Primitives, MatricesStoredTransposed) {
  expect_right(threads(32), [](Machine m) {
    // Element (row, column) of a matrix, as two halves of a register: columns 2 (l % 4) and the
    // next.
    const u32 row = m.lane() / 4, column = m.lane() % 4 * 2;
    const u32 halves = (row << 4 | column) | (row << 4 | (column + 1)) << 16;
    m.stmatrix4_transposed(m.lane() / 8 * 128 + m.lane() % 8 * 16, halves, halves, halves, halves);
    m.sync_warp();
    for (u32 j = 0; j < 4; ++j) {
      const u32 word = m.load_shared<u32>(j * 128 + m.lane() / 4 * 16 + m.lane() % 4 * 4);
      EXPECT_EQ(column << 4 | row, word & 0xFFFF);
      EXPECT_EQ((column + 1) << 4 | row, word >> 16);
    }
  });
}

TEST(Primitives, CopiesThatThreadsIssueLandAtTheirWait) {
  alignas(16) static std::array<u32, 128> from;
  std::iota(from.begin(), from.end(), 7U);
  expect_right(threads(32), [](Machine m) {
    m.cp_async16(m.lane() * 16, &from[m.lane() * 4], 16);
    m.cp_async_commit();
    m.cp_async16(512 + m.lane() * 16, &from[m.lane() * 4], 4);
    m.cp_async_commit();
    m.cp_async_wait<1>();
    m.sync_warp();
    EXPECT_EQ(7 + 4 * (31 - m.lane()), m.load_shared<u32>((31 - m.lane()) * 16));
    m.cp_async_wait<0>();
    m.sync_warp();
    EXPECT_EQ(7 + 4 * m.lane(), m.load_shared<u32>(512 + m.lane() * 16));
    EXPECT_EQ(0U, m.load_shared<u32>(516 + m.lane() * 16));  // past the bytes that were asked for
  });
}

TEST(Primitives, CountersOrderClusters) {
  Launch launch = threads(32);
  launch.blocks = launch.resident = 3;
  for (const Options& options : schedules()) {
    std::vector<u32> order;
    u32 turn = 0;
    EXPECT_EQ("", fault_of(launch, options, [&](Machine m) {
                if (m.lane() != 0) return;
                while (m.load_acquire(&turn) != m.block()) {
                }
                order.push_back(m.block());
                m.add_release(&turn, 1);
              }));
    EXPECT_EQ((std::vector<u32>{0, 1, 2}), order);
  }
}

// Two CTAs pass a word through the other's shared memory, ordered by a released arrival.
TEST(Primitives, ReleasedArrivalsCarryStoresToOtherCtas) {
  expect_right(cluster(2, 32), [](Machine m) {
    if (m.lane() == 0) {
      m.mbarrier_init(0, 1);
      m.fence_mbarrier_init();
    }
    m.cluster_sync();
    const u32 peer = 1 - m.cta_rank();
    if (m.lane() == 0) {
      m.store_cluster<u32>(64, peer, 5 + m.cta_rank());
      m.mbarrier_arrive_cluster_release(0, peer);
      m.mbarrier_wait_cluster(0, 0);
      EXPECT_EQ(5 + peer, m.load_shared<u32>(64));
    }
    m.cluster_sync();
  });
}

TEST(Primitives, BarriersGoThroughPhases) {
  expect_right(threads(64), [](Machine m) {
    if (m.tid() == 0) m.mbarrier_init(0, 64);
    m.sync_named(0, 64);
    for (u32 phase = 0; phase < 5; ++phase) {
      m.store_shared<u32>(64 + m.tid() * 4, phase * 64 + m.tid());
      m.mbarrier_arrive(0);
      m.mbarrier_wait(0, phase & 1);
      const u32 other = 63 - m.tid();
      EXPECT_EQ(phase * 64 + other, m.load_shared<u32>(64 + other * 4));
      m.sync_named(0, 64);
    }
  });
}

// A box at the edge of a tensor, swizzled or not: elements outside are zeros.
TEST(Primitives, BoxesLandWhereTheSwizzleSaysAndAreClipped) {
  ByteMatrix from(20, 200);
  for (int r = 0; r < 20; ++r)
    for (int c = 0; c < 200; ++c) from.at(r, c) = static_cast<std::uint8_t>(r * 7 + c + 1);
  for (const Swizzle swizzle : {Swizzle::bytes_128, Swizzle::none}) {
    const TensorMap map = from.map(16, swizzle);
    expect_right(threads(32), [&](Machine m) {
      if (m.lane() == 0) {
        m.mbarrier_init(8192, 1);
        m.fence_mbarrier_init();
        m.mbarrier_expect(8192, 16 * 128);
        m.tma_load(map, 1024, 8192, 128, 8);
      }
      m.sync_warp();
      m.mbarrier_wait(8192, 0);
      for (u32 r = 0; r < 16; ++r) {
        const u32 c = m.lane() * 4;
        const u32 address = 1024 + r * 128 + c;
        const u32 word =
            m.load_shared<u32>(swizzle == Swizzle::none ? address : cuda::swizzle_128(address));
        for (u32 byte = 0; byte < 4; ++byte) {
          const int row = static_cast<int>(8 + r), column = static_cast<int>(128 + c + byte);
          const int want = row < 20 && column < 200 ? from.at(row, column) : 0;
          EXPECT_EQ(want, static_cast<int>(word >> (8 * byte) & 0xFF)) << row << ' ' << column;
        }
      }
    });
  }
}

TEST(Primitives, BoxesOfThreeDimensions) {
  std::vector<std::uint8_t> bytes(3 * 5 * 32 + 16);
  auto* const base = reinterpret_cast<std::uint8_t*>(
      (reinterpret_cast<std::uintptr_t>(bytes.data()) + 15) / 16 * 16);
  for (int i = 0; i < 3 * 5 * 32; ++i) base[i] = static_cast<std::uint8_t>(i % 251);
  TensorMap map;
  map.base = base;
  map.rank = 3;
  map.swizzle = Swizzle::none;
  const int extents[3] = {32, 5, 3}, boxes[3] = {32, 4, 1};
  for (int d = 0; d < 3; ++d) {
    map.extent[d] = extents[d];
    map.box[d] = boxes[d];
  }
  map.pitch[1] = 32;
  map.pitch[2] = 5 * 32;
  expect_right(threads(32), [&](Machine m) {
    if (m.lane() == 0) {
      m.mbarrier_init(8192, 1);
      m.fence_mbarrier_init();
      m.mbarrier_expect(8192, 4 * 32);
      m.tma_load_3d(map, 0, 8192, 0, 3, 2);
    }
    m.sync_warp();
    m.mbarrier_wait(8192, 0);
    const u32 row = m.lane() / 8, column = m.lane() % 8 * 4;
    const u32 word = m.load_shared<u32>(row * 32 + column);
    const u32 first =
        row < 2 ? base[2 * 160 + (3 + row) * 32 + column] : 0;  // rows 3 and 4 are there
    EXPECT_EQ(first, word & 0xFF);
  });
}

TEST(Primitives, MulticastLandsInEveryCtaOfTheMask) {
  ByteMatrix from(8, 128);
  for (int c = 0; c < 128; ++c) from.at(3, c) = static_cast<std::uint8_t>(c);
  const TensorMap map = from.map(8);
  expect_right(cluster(4, 32), [&](Machine m) {
    if (m.lane() == 0) {
      m.mbarrier_init(8192, 1);
      m.fence_mbarrier_init();
    }
    m.cluster_sync();
    const bool receives = m.cta_rank() != 2;
    if (m.lane() == 0 && receives) m.mbarrier_expect(8192, 1024);
    m.cluster_sync();
    if (m.cta_rank() == 1 && m.lane() == 0) m.tma_load(map, 0, 8192, 0, 0, 0b1011);
    if (receives) {
      m.mbarrier_wait(8192, 0);
      const u32 c = m.lane() * 4;
      EXPECT_EQ(c | (c + 1) << 8 | (c + 2) << 16 | (c + 3) << 24,
                m.load_shared<u32>(cuda::swizzle_128(3 * 128 + c)));
    }
    m.cluster_sync();
  });
}

TEST(Primitives, StoresAreClippedAndTheirSourceMayBeUsedAgain) {
  for (const Options& options : schedules()) {
    ByteMatrix to(20, 144);
    const TensorMap map = to.map(16);
    EXPECT_EQ("", fault_of(threads(32), options, [&](Machine m) {
                for (u32 round = 0; round < 2; ++round) {
                  for (u32 r = 0; r < 16; ++r)
                    m.store_shared<u32>(cuda::swizzle_128(r * 128 + m.lane() * 4),
                                        (round + 1) * 0x01010101U * (r + 1));
                  m.fence_async();
                  m.sync_warp();
                  if (m.lane() == 0) {
                    m.tma_store(map, 0, 128 * static_cast<int>(round), 10);
                    m.tma_store_commit();
                    m.tma_store_wait_read<0>();
                  }
                  m.sync_warp();
                }
              }));
    for (int r = 0; r < 20; ++r) {
      for (int c = 0; c < 144; ++c) {
        const int want = r < 10 ? 0 : (c < 128 ? 1 : 2) * (r - 10 + 1);
        ASSERT_EQ(want, to.at(r, c)) << r << ' ' << c;
      }
    }
  }
}

// One warpgroup multiplies 64 x 128 by n x 128 and hands its sums over, for every type.
template <MmaType type, u32 n>
void multiply() {
  std::mt19937 random(static_cast<u32>(type) * 100 + n);
  ByteMatrix a(64, 128), b(n, 128);
  for (int r = 0; r < 64; ++r)
    for (int c = 0; c < 128; ++c) a.at(r, c) = static_cast<std::uint8_t>(random());
  for (int r = 0; r < static_cast<int>(n); ++r)
    for (int c = 0; c < 128; ++c) b.at(r, c) = static_cast<std::uint8_t>(random());
  std::vector<u32> want(64 * n, 0);
  for (int step = 0; step < 4; ++step) {
    std::vector<std::uint8_t> rows(64 * 32), columns(n * 32);
    for (int r = 0; r < 64; ++r)
      std::copy_n(a.row(r) + step * 32, 32, &rows[static_cast<u32>(r) * 32]);
    for (u32 r = 0; r < n; ++r) std::copy_n(b.row(r) + step * 32, 32, &columns[r * 32]);
    cuda::simulator::multiply_step(cuda::simulator::TensorUnit::wgmma, type, rows.data(), 64,
                                   columns.data(), static_cast<int>(n), want.data());
  }
  const TensorMap map_a = a.map(64), map_b = b.map(static_cast<int>(n));
  const u32 bars = 8192 + n * 128;
  std::vector<u32> got(64 * n);
  expect_right(threads(128), [&](Machine m) {
    if (m.tid() == 0) {
      m.mbarrier_init(bars, 1);
      m.fence_mbarrier_init();
      m.mbarrier_expect(bars, (64 + n) * 128);
      m.tma_load(map_a, 0, bars, 0, 0);
      m.tma_load(map_b, 8192, bars, 0, 0);
    }
    m.sync_named(0, 128);
    m.mbarrier_wait(bars, 0);
    cuda::Accumulator<type> sums[n / 2];
    for (auto& sum : sums) sum = 12345;  // not added to
    m.wgmma_fence();
    for (u32 step = 0; step < 4; ++step) {
      m.wgmma<type, n>(sums, cuda::tile_descriptor(0) + step * cuda::kDescriptorStep,
                       cuda::tile_descriptor(8192) + step * cuda::kDescriptorStep, step > 0);
    }
    m.wgmma_commit();
    m.wgmma_wait<0>(sums);
    for (u32 i = 0; i < n / 2; ++i) {
      const int row = cuda::accumulator_row(static_cast<int>(m.tid()), static_cast<int>(i));
      const int column = cuda::accumulator_column(static_cast<int>(m.tid()), static_cast<int>(i));
      std::memcpy(&got[static_cast<u32>(row) * n + static_cast<u32>(column)], &sums[i], 4);
    }
  });
  EXPECT_EQ(want, got);
}

TEST(Primitives, WarpgroupsMultiplyEveryType) {
  multiply<MmaType::s8_s8, 64>();
  multiply<MmaType::u8_s8, 64>();
  multiply<MmaType::s8_u8, 64>();
  multiply<MmaType::u8_u8, 64>();
  multiply<MmaType::e4m3_e4m3, 64>();
  multiply<MmaType::e4m3_e5m2, 64>();
  multiply<MmaType::e5m2_e4m3, 64>();
  multiply<MmaType::e5m2_e5m2, 64>();
  multiply<MmaType::bf16_bf16, 64>();
  multiply<MmaType::f16_f16, 64>();
}

TEST(Primitives, WarpgroupsMultiplyEveryWidth) {
  multiply<MmaType::s8_s8, 8>();
  multiply<MmaType::s8_s8, 24>();
  multiply<MmaType::s8_s8, 192>();
  multiply<MmaType::s8_s8, 256>();
}

TEST(Primitives, FragmentsOfOneWarp) {
  std::mt19937 random(3);
  std::array<std::int8_t, 16 * 32> a;
  std::array<std::int8_t, 8 * 32> b;
  for (auto& x : a) x = static_cast<std::int8_t>(random());
  for (auto& x : b) x = static_cast<std::int8_t>(random());
  expect_right(threads(32), [&](Machine m) {
    const u32 row = m.lane() / 4, byte = m.lane() % 4 * 4;
    u32 ra[4], rb[2];
    const u32 rows[4] = {row, row + 8, row, row + 8}, bytes[4] = {byte, byte, byte + 16, byte + 16};
    for (u32 i = 0; i < 4; ++i) std::memcpy(&ra[i], &a[rows[i] * 32 + bytes[i]], 4);
    for (u32 i = 0; i < 2; ++i) std::memcpy(&rb[i], &b[row * 32 + byte + i * 16], 4);
    std::int32_t sums[4] = {1, 2, 3, 4};
    m.mma_sync<MmaType::s8_s8>(sums, ra, rb);
    for (int i = 0; i < 4; ++i) {
      const u32 r = row + (i >= 2 ? 8 : 0), c = m.lane() % 4 * 2 + static_cast<u32>(i % 2);
      std::int32_t want = i + 1;
      for (u32 k = 0; k < 32; ++k) want += a[r * 32 + k] * b[c * 32 + k];
      EXPECT_EQ(want, sums[i]);
    }
  });
}

TEST(Primitives, WarpsHandRegistersOver) {
  Launch launch = threads(384);
  launch.registers =
      168;  // 64,512 of 65,536: two warpgroups get 64 more each once one has given up 128
  expect_right(launch, [](Machine m) {
    if (m.warp() < 4) {
      m.registers_decrease<40>();
    } else {
      m.registers_increase<232>();
    }
  });
}

TEST(Primitives, TheClockAddsUpWhatPlainCodeCosts) {
  Options options;
  options.timed = true;
  const Counters counters =
      cuda::simulator::simulate(threads(32 * 8), options, [](Machine m) { m.work(100); });
  // Eight warps share four ports: two turns of 100, and what it costs to meet.
  EXPECT_GE(counters.cycles, 200);
  EXPECT_LE(counters.cycles, 200 + 2 * options.clock.meeting);
}

TEST(Primitives, BanksAreCounted) {
  Options options;
  options.count_banks = true;
  const auto wavefronts = [&](u32 stride) {
    const Counters counters = cuda::simulator::simulate(
        threads(32), options, [&](Machine m) { m.store_shared<u32>(m.lane() * stride, 0); });
    return counters.banks.begin()->second.wavefronts;
  };
  EXPECT_EQ(1U, wavefronts(4));
  EXPECT_EQ(2U, wavefronts(8));
  EXPECT_EQ(32U, wavefronts(128));
}

}  // namespace
}  // namespace octavo::test::primitives_test
