// SPDX-License-Identifier: Apache-2.0
// Small kernels of which each takes the time of one thing, many times over: what the constants of
// the simulator's clock (simulator/options.hpp) are fitted to. The same source runs on a device and
// on the simulator; cycles of the multiprocessor for one repetition are compared.
#pragma once

#include <cstdint>

#include "backends/cuda/kernels/sm90/ring.hpp"
#include "backends/cuda/machine/layout.hpp"
#include "backends/cuda/machine/types.hpp"

namespace octavo::test {

using cuda::MmaType;

template <class Map>
struct ClockParams {
  Map map;  ///< of a matrix of rows of 128 bytes: boxes of kBoxRows
  std::uint32_t repeats = 0;
  std::uint32_t boxes = 1;      ///< of the matrix
  long long* cycles = nullptr;  ///< [CTAs]: of a device alone
};

/// Boxes through a ring, as a product's producer brings them: the rate of L2 or of memory.
template <int rows, int stages>
struct BoxRate {
  using u32 = std::uint32_t;
  static constexpr int kBoxRows = rows;
  static constexpr u32 kCluster = 1, kThreads = 32, kBoxBytes = rows * cuda::kRowBytes;
  static constexpr u32 kBarriers = stages * kBoxBytes, kSharedBytes = kBarriers + 8 * stages;

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const ClockParams<typename Machine::TensorMap>& p) {
    const u32 base = m.shared_base(), barriers = base + kBarriers;
    if (m.tid() == 0) {
      for (u32 s = 0; s < stages; ++s) m.mbarrier_init(barriers + 8 * s, 1);
      m.fence_mbarrier_init();
    }
    m.sync_warp();
    if (m.elect()) {
      // Every CTA its own boxes, one behind the other.
      u32 box = static_cast<u32>(std::uint64_t{m.block()} * p.boxes / m.blocks());
      const auto load = [&](const cuda::RingPlace<stages>& place) {
        m.mbarrier_expect(barriers + 8 * place.stage, kBoxBytes);
        m.tma_load(p.map, base + place.stage * kBoxBytes, barriers + 8 * place.stage, 0,
                   static_cast<int>(box) * rows);
        if (++box == p.boxes) box = 0;
      };
      cuda::RingPlace<stages> filled, emptied;
      for (u32 i = 0; i < p.repeats + stages; ++i) {
        if (i >= stages) {
          m.mbarrier_wait(barriers + 8 * emptied.stage, emptied.phase);
          emptied.advance();
        }
        if (i < p.repeats) {
          load(filled);
          filled.advance();
        }
      }
    }
    m.sync_warp();
  }
};

/// Two warps that wait for each other in turn, of one CTA or of two: there and back.
template <bool remote>
struct PingPong {
  using u32 = std::uint32_t;
  static constexpr int kBoxRows = 8;
  static constexpr u32 kCluster = remote ? 2 : 1, kThreads = remote ? 32 : 64;
  static constexpr u32 kSharedBytes = 16;

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const ClockParams<typename Machine::TensorMap>& p) {
    const u32 base = m.shared_base(), who = remote ? m.cta_rank() : m.warp();
    if (m.tid() == 0) {
      m.mbarrier_init(base, 1);
      m.mbarrier_init(base + 8, 1);
      m.fence_mbarrier_init();
    }
    m.cluster_sync();
    if (m.elect()) {
      // Who waits at barrier `who`; the other arrives there.
      for (u32 i = 0; i < p.repeats; ++i) {
        if (who == 1) m.mbarrier_wait(base + 8, i & 1);
        if (remote) {
          m.mbarrier_arrive_cluster(base + 8 * (1 - who), 1 - who);
        } else {
          m.mbarrier_arrive(base + 8 * (1 - who));
        }
        if (who == 0) m.mbarrier_wait(base, i & 1);
      }
    }
    m.cluster_sync();
  }
};

/// A warpgroup that issues `chain` products of 64 x columns x 32 bytes and waits for them.
template <int columns, int chain>
struct Products {
  using u32 = std::uint32_t;
  static constexpr int kBoxRows = 8;
  static constexpr u32 kCluster = 1, kThreads = 128, kColumns = columns;
  static constexpr u32 kB = 64 * cuda::kRowBytes, kSharedBytes = kB + kColumns * cuda::kRowBytes;

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const ClockParams<typename Machine::TensorMap>& p) {
    const u32 base = m.shared_base();
    for (u32 at = m.tid() * 4; at < kSharedBytes; at += kThreads * 4) m.store_shared(base + at, 0U);
    m.fence_async();
    m.sync_named(1, kThreads);
    std::int32_t sums[kColumns / 2];
    for (u32 i = 0; i < p.repeats; ++i) {
      m.wgmma_fence();
      OCTAVO_UNROLL
      for (int c = 0; c < chain; ++c)
        m.template wgmma<MmaType::s8_s8, kColumns>(
            sums, cuda::tile_descriptor(base), cuda::tile_descriptor(base + kB), i > 0 || c > 0);
      m.wgmma_commit();
      m.template wgmma_wait<0>(sums);
    }
    // What is never true keeps the sums.
    if (p.repeats == ~0U) m.store_shared(base, static_cast<u32>(sums[0]));
    m.sync_named(1, kThreads);
  }
};

/// A panel of 64 rows that a thread stores, and waits until it has been read.
struct StoredPanel {
  using u32 = std::uint32_t;
  static constexpr int kBoxRows = 64;
  static constexpr u32 kCluster = 1, kThreads = 32, kSharedBytes = kBoxRows * cuda::kRowBytes;

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const ClockParams<typename Machine::TensorMap>& p) {
    const u32 base = m.shared_base();
    for (u32 at = m.tid() * 4; at < kSharedBytes; at += kThreads * 4) m.store_shared(base + at, 0U);
    m.fence_async();
    m.sync_warp();
    if (m.tid() == 0) {
      const int row = static_cast<int>(m.block() % p.boxes) * kBoxRows;
      for (u32 i = 0; i < p.repeats; ++i) {
        m.tma_store(p.map, base, 0, row);
        m.tma_store_commit();
        m.template tma_store_wait_read<0>();
      }
    }
    m.sync_warp();
  }
};

}  // namespace octavo::test
