// SPDX-License-Identifier: Apache-2.0
// Reading more memory than any cache holds, with several instruction widths and prefetch distances.
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <new>

#include "kit/timing/peak.hpp"
#include "kit/workers.hpp"

namespace octavo::kit {
namespace {

constexpr std::size_t kBytes = std::size_t{512} << 20;
volatile std::uint64_t sum_sink;

// 64 bytes at a time; the compiler makes of it what the baseline has.
using Line = std::uint64_t __attribute__((vector_size(64), may_alias));

template <std::size_t prefetch_bytes>
void read(const char* begin, std::size_t bytes) {
  Line sums[4]{};
  const char* end = begin + bytes;
  for (const char* p = begin; p < end; p += 256) {
    if constexpr (prefetch_bytes > 0) {
      for (std::size_t i = 0; i < 4; ++i) __builtin_prefetch(p + prefetch_bytes + 64 * i, 0, 3);
    }
    for (std::size_t i = 0; i < 4; ++i) sums[i] ^= *reinterpret_cast<const Line*>(p + 64 * i);
  }
  sum_sink = (sums[0] ^ sums[1] ^ sums[2] ^ sums[3])[0];
}

constexpr std::array<void (*)(const char*, std::size_t), 3> kReads{&read<0>, &read<1024>,
                                                                   &read<4096>};

// One buffer for the life of the process; its pages are touched when they are first asked for.
const char* buffer(std::size_t bytes) {
  static char* memory = [] {
    void* map = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) throw std::bad_alloc();
    ::madvise(map, kBytes, MADV_HUGEPAGE);
    return static_cast<char*>(map);
  }();
  static std::size_t touched = 0;
  for (; touched < bytes; touched += 4096) memory[touched] = static_cast<char>(touched >> 12);
  return memory;
}

}  // namespace

double measure_read_bandwidth(int threads, double seconds) {
  // A sample too short for a figure is a test: a part does.
  const std::size_t bytes = seconds < 0.01 ? kBytes / 16 : kBytes;
  const char* memory = buffer(bytes);
  const std::size_t part = bytes / static_cast<std::size_t>(threads) / 4096 * 4096;
  double best = 0.0;
  double spent = 0.0;
  for (std::size_t i = 0; spent < seconds || i < kReads.size(); ++i) {
    const auto read_part = kReads[i % kReads.size()];
    const double elapsed = run_together(threads, [&](int worker) {
      read_part(memory + static_cast<std::size_t>(worker) * part, part);
    });
    spent += elapsed;
    best = std::max(best, static_cast<double>(part) * threads / elapsed * 1e-9);
  }
  return best;
}

}  // namespace octavo::kit
