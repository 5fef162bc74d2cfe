// SPDX-License-Identifier: Apache-2.0
// How a kernel is launched and in which order the simulator lets things happen; what it counted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

namespace octavo::cuda::simulator {

/// When asynchronous work takes place: at once, some time, or when nothing else can go on.
enum class Landing : std::uint8_t { eager, random, late };

/// The simulator's clock, in cycles of the multiprocessor. The first seven are fitted to what an
/// H200 does at 1.98 GHz (tests/gpu/clock_test.cpp; docs/design/cuda.md has the figures).
struct ClockModel {
  double l2_bytes = 37;          ///< from L2 to each multiprocessor where all read, a cycle
  double hbm_bytes = 17.5;       ///< from memory to a multiprocessor's share of L2, a cycle
  double tma_latency = 240;      ///< from a load's turn at L2 to its landing
  double remote_latency = 1;     ///< of an arrival at another CTA, beyond one at the own
  double barrier_latency = 192;  ///< from the last arrival to the waiting threads
  double wgmma_latency = 46;     ///< from the last product to the thread that waits for it
  double store_latency = 150;    ///< until a TMA store has read its source
  double store_bytes = 64;       ///< that it reads a cycle
  double meeting = 4;            ///< cycles that a collective costs its warps
  double barrier_slots = 10;     ///< that a wait or an arrival costs
  double tma_slots = 20;         ///< that issuing a copy costs
  double wgmma_slots = 8;        ///< that issuing a product costs
  double shared_bytes = 128;     ///< of both operands that a product reads a cycle
};

/// Memory whose addresses kernels have, where these are none of the host's.
class GlobalMemory {
 public:
  virtual ~GlobalMemory() = default;
  /// Where `bytes` at such an address lie on the host; null where no allocation has them all.
  virtual void* find(const void* address, std::size_t bytes) noexcept = 0;
};

struct Options {
  std::uint64_t seed = 1;
  Landing landing = Landing::late;
  bool timed = false;        ///< the earliest thing happens first, by the clock
  bool ampere = false;       ///< mma.sync adds as devices of 8.x do, and has no fp8
  bool arithmetic = true;    ///< false: products are not computed, for the clock alone
  bool count_banks = false;  ///< wavefronts of shared memory, by source line
  ClockModel clock;
  GlobalMemory* memory = nullptr;  ///< null: addresses are the host's
};

struct Launch {
  std::uint32_t blocks = 1;
  std::uint32_t cluster = 1;    ///< CTAs a cluster; `blocks` is a multiple of it
  std::uint32_t threads = 384;  ///< of a CTA, a multiple of 32
  std::uint32_t shared_bytes = 0;
  std::uint32_t registers = 168;    ///< of a thread at the start
  std::uint32_t first_cluster = 0;  ///< simulated are `clusters` from this one on
  std::uint32_t clusters = ~0U;
  std::uint32_t resident = 1;  ///< clusters that run at the same time
};

/// Wavefronts of shared memory that accesses at a source line took, and the least that could do.
struct BankUse {
  std::uint64_t wavefronts = 0, ideal = 0;
};

struct Counters {
  std::uint64_t switches = 0;
  std::uint64_t wgmmas = 0;  ///< of warps: a warpgroup's instruction counts four
  std::uint64_t tma_loads = 0, tma_stores = 0;
  double cycles = 0;         ///< until the last thread of the slowest cluster ended
  double tensor_cycles = 0;  ///< that the busiest tensor core multiplied
  std::map<std::string, BankUse> banks;
};

}  // namespace octavo::cuda::simulator
