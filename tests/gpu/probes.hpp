// SPDX-License-Identifier: Apache-2.0
// One instruction of the tensor cores on made-up operands, as a kernel of the machine: what a
// device is asked before anything is built on what the simulator says of its arithmetic.
//
// A CTA is a warpgroup. Of its tiles it makes the operands by a hash, A [64][32 bytes] and
// B [n][32 bytes] in rows of 128 swizzled bytes, multiplies once onto sums that are made up as
// well, and writes those that come out: [tile][register][thread].
#pragma once

#include <string.h>

#include "backends/cuda/machine/layout.hpp"
#include "backends/cuda/machine/types.hpp"

namespace octavo::test {

using cuda::Accumulator;
using cuda::MmaType;

/// A well mixed word of three numbers.
OCTAVO_HOST_DEVICE std::uint32_t probe_word(std::uint32_t seed, std::uint32_t tile,
                                            std::uint32_t index) {
  std::uint32_t x = seed * 0x9E3779B9U ^ tile * 0x85EBCA6BU ^ index * 0xC2B2AE35U;
  x ^= x >> 16;
  x *= 0x7FEB352DU;
  x ^= x >> 15;
  x *= 0x846CA68BU;
  return x ^ x >> 16;
}

/// Four bytes of an operand. Every other tile's floats stay within a few powers of two of 1, so
/// that sums do not end in NaN or in the largest term alone.
template <MmaType type>
OCTAVO_HOST_DEVICE std::uint32_t probe_operand(std::uint32_t seed, std::uint32_t tile,
                                               std::uint32_t index) {
  const std::uint32_t word = probe_word(seed, tile, index);
  if (cuda::is_integer(type) || tile % 2 == 0) return word;
  if (type == MmaType::bf16_bf16) return (word & 0x80FF80FFU) | 0x3F003F00U;
  if (type == MmaType::f16_f16) return (word & 0x87FF87FFU) | 0x38003800U;
  return (word & 0x9F9F9F9FU) | 0x20202020U;
}

/// A sum to begin with: 0 for every third tile, else a float of some size, or any integer.
template <MmaType type>
OCTAVO_HOST_DEVICE std::uint32_t probe_sum(std::uint32_t seed, std::uint32_t tile,
                                           std::uint32_t index) {
  const std::uint32_t word = probe_word(~seed, tile, index);
  if (tile % 3 == 0) return 0;
  return cuda::is_integer(type) ? word : (word & 0x87FFFFFFU) | 0x38000000U;
}

template <MmaType type>
struct WgmmaProbe {
  using u32 = std::uint32_t;
  struct Params {
    std::uint32_t* sums;  ///< [tiles][kSums][128]
    u32 seed, first, tiles;
  };
  static constexpr u32 kColumns = 8, kSums = kColumns / 2;
  static constexpr u32 kThreads = 128, kRows = 64;
  static constexpr u32 kA = 0, kB = kRows * cuda::kRowBytes;
  static constexpr u32 kSharedBytes = kB + kColumns * cuda::kRowBytes;
  static constexpr u32 kWords = cuda::kStepBytes / 4;  // of a row

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const Params& p) {
    const u32 base = m.shared_base();
    for (u32 tile = m.block(); tile < p.tiles; tile += m.blocks()) {
      m.sync_named(1, kThreads);
      for (u32 i = m.tid(); i < (kRows + kColumns) * kWords; i += kThreads) {
        const u32 at = i / kWords * cuda::kRowBytes + i % kWords * 4;
        m.store_shared(cuda::swizzle_128(base + at),
                       probe_operand<type>(p.seed, p.first + tile, i));
      }
      Accumulator<type> sums[kSums];
      OCTAVO_UNROLL
      for (u32 i = 0; i < kSums; ++i) {
        const u32 bits = probe_sum<type>(p.seed, p.first + tile, i * kThreads + m.tid());
        memcpy(&sums[i], &bits, sizeof(bits));
      }
      m.fence_async();
      m.sync_named(1, kThreads);
      m.wgmma_fence();
      m.template wgmma<type, kColumns>(sums, cuda::tile_descriptor(base + kA),
                                       cuda::tile_descriptor(base + kB), true);
      m.wgmma_commit();
      m.template wgmma_wait<0>(sums);
      OCTAVO_UNROLL
      for (u32 i = 0; i < kSums; ++i) {
        u32 bits;
        memcpy(&bits, &sums[i], sizeof(bits));
        m.store_global(p.sums + (std::uint64_t{tile} * kSums + i) * kThreads + m.tid(), bits);
      }
    }
  }
};

template <MmaType type>
struct MmaSyncProbe {
  using u32 = std::uint32_t;
  using Params = typename WgmmaProbe<type>::Params;  ///< sums: [tiles][4][32]
  static constexpr u32 kColumns = 8, kSums = 4;
  static constexpr u32 kThreads = 32, kRows = 16, kSharedBytes = 0;
  static constexpr u32 kWords = cuda::kStepBytes / 4;

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const Params& p) {
    const int lane = static_cast<int>(m.lane());
    for (u32 tile = m.block(); tile < p.tiles; tile += m.blocks()) {
      const auto operand = [&](int row, int byte) {
        return probe_operand<type>(p.seed, p.first + tile,
                                   static_cast<u32>(row) * kWords + static_cast<u32>(byte) / 4);
      };
      u32 a[4], b[2];
      OCTAVO_UNROLL
      for (int i = 0; i < 4; ++i)
        a[i] = operand(cuda::fragment_a_row(lane, i), cuda::fragment_a_byte(lane, i));
      OCTAVO_UNROLL
      for (int i = 0; i < 2; ++i)
        b[i] = operand(static_cast<int>(kRows) + cuda::fragment_b_column(lane, i),
                       cuda::fragment_b_byte(lane, i));
      Accumulator<type> sums[kSums];
      OCTAVO_UNROLL
      for (u32 i = 0; i < kSums; ++i) {
        const u32 bits = probe_sum<type>(p.seed, p.first + tile, i * kThreads + m.tid());
        memcpy(&sums[i], &bits, sizeof(bits));
      }
      m.template mma_sync<type>(sums, a, b);
      OCTAVO_UNROLL
      for (u32 i = 0; i < kSums; ++i) {
        u32 bits;
        memcpy(&bits, &sums[i], sizeof(bits));
        m.store_global(p.sums + (std::uint64_t{tile} * kSums + i) * kThreads + m.tid(), bits);
      }
    }
  }
};

}  // namespace octavo::test
