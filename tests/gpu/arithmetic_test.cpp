// SPDX-License-Identifier: Apache-2.0
// The tensor cores' arithmetic: what an instruction gives on made-up tiles, against
// simulator/arithmetic.hpp, bit for bit. Everything else about floating sums rests on it.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "gpu/probe_runner.hpp"
#include "simulator/arithmetic.hpp"

namespace octavo::test::arithmetic_test {
namespace {

using cuda::simulator::TensorUnit;

// Tiles of each type in all, and at a time.
constexpr std::uint32_t kAtOnce = 1U << 15;

template <class Probe, MmaType type>
struct Expected {
  static constexpr std::uint32_t kWords = Probe::kWords;

  // What a tile's sums are: [row][column].
  static std::vector<std::uint32_t> of(TensorUnit unit, std::uint32_t seed, std::uint32_t tile) {
    constexpr auto kAll = (Probe::kRows + Probe::kColumns) * kWords;
    std::array<std::uint32_t, kAll> words;
    for (std::uint32_t i = 0; i < kAll; ++i) words[i] = probe_operand<type>(seed, tile, i);
    std::vector<std::uint32_t> sums(Probe::kRows * Probe::kColumns);
    for (std::uint32_t i = 0; i < Probe::kSums; ++i) {
      for (std::uint32_t t = 0; t < Probe::kThreads; ++t)
        sums[place(t, i)] = probe_sum<type>(seed, tile, i * Probe::kThreads + t);
    }
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(words.data());
    cuda::simulator::multiply_step(unit, type, bytes, Probe::kRows,
                                   bytes + Probe::kRows * cuda::kStepBytes, Probe::kColumns,
                                   sums.data());
    return sums;
  }
  static std::size_t place(std::uint32_t thread, std::uint32_t index) {
    const int t = static_cast<int>(thread), i = static_cast<int>(index);
    return static_cast<std::size_t>(cuda::accumulator_row(t, i)) * Probe::kColumns +
           static_cast<std::size_t>(cuda::accumulator_column(t, i));
  }
};

// How many of [first, first + tiles) differ in a sum, the first one that does, and some of the
// sums.
struct Difference {
  std::atomic<std::uint32_t> tiles{0}, first{~0U};
  std::mutex mutex;
  std::vector<std::string> some;

  void add(std::uint32_t tile, std::size_t place, std::uint32_t columns, std::uint32_t got,
           std::uint32_t want) {
    const std::lock_guard lock(mutex);
    if (some.size() < 40)
      some.push_back(fmt::format("tile {} [{}][{}]: {:08x}, model {:08x}", tile, place / columns,
                                 place % columns, got, want));
  }
};

template <class Probe, MmaType type>
void compare(TensorUnit unit, std::uint32_t seed, std::uint32_t first, std::uint32_t tiles,
             const std::vector<std::uint32_t>& got, Difference& difference) {
  const unsigned threads = std::max(1U, std::thread::hardware_concurrency());
  std::vector<std::thread> pool;
  for (unsigned worker = 0; worker < threads; ++worker) {
    pool.emplace_back([&, worker] {
      for (std::uint32_t tile = worker; tile < tiles; tile += threads) {
        const auto want = Expected<Probe, type>::of(unit, seed, first + tile);
        bool same = true;
        for (std::uint32_t i = 0; i < Probe::kSums; ++i) {
          for (std::uint32_t t = 0; t < Probe::kThreads; ++t) {
            const std::size_t at = (std::size_t{tile} * Probe::kSums + i) * Probe::kThreads + t;
            const std::size_t place = Expected<Probe, type>::place(t, i);
            if (got[at] == want[place]) continue;
            if (same) difference.add(first + tile, place, Probe::kColumns, got[at], want[place]);
            same = false;
          }
        }
        if (same) continue;
        ++difference.tiles;
        std::uint32_t known = difference.first.load();
        while (first + tile < known &&
               !difference.first.compare_exchange_weak(known, first + tile)) {
        }
      }
    });
  }
  for (std::thread& worker : pool) worker.join();
}

template <class Probe, MmaType type>
void expect_the_model(TensorUnit unit, ProbeId id, std::uint32_t all) {
  constexpr std::uint32_t kSeed = 20261122;
  Difference difference;
  for (std::uint32_t first = 0; first < all; first += kAtOnce) {
    const std::uint32_t tiles = std::min(kAtOnce, all - first);
    typename Probe::Params params{nullptr, kSeed, first, tiles};
    const std::vector<std::uint32_t> got = run_probe<Probe>(id, params);
    compare<Probe, type>(unit, kSeed, first, tiles, got, difference);
  }
  EXPECT_EQ(difference.tiles.load(), 0U)
      << "of " << all << " tiles of " << Probe::kRows << " x " << Probe::kColumns
      << "; the first is tile " << difference.first.load() << " of seed " << kSeed << "\n"
      << fmt::format("{}", fmt::join(difference.some, "\n"));
}

#define OCTAVO_PROBE(type)                                              \
  TEST(HardwareArithmetic, Wgmma_##type) {                              \
    expect_the_model<WgmmaProbe<MmaType::type>, MmaType::type>(         \
        TensorUnit::wgmma, ProbeId::wgmma_##type, probe_tiles());       \
  }                                                                     \
  TEST(HardwareArithmetic, MmaSync_##type) {                            \
    expect_the_model<MmaSyncProbe<MmaType::type>, MmaType::type>(       \
        TensorUnit::mma_sync, ProbeId::mma_sync_##type, probe_tiles()); \
  }
#include "gpu/probe_types.inc"
#undef OCTAVO_PROBE

}  // namespace
}  // namespace octavo::test::arithmetic_test
