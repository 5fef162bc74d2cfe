// SPDX-License-Identifier: Apache-2.0
// Shares of numbered loops, each of which runs once whoever comes first.
#pragma once

#include <atomic>
#include <cstdint>

#include "octavo/context.hpp"

namespace octavo {

inline constexpr std::int64_t kMostShares = 512;

/// What is announced: a loop's number, from 1, and its shares, in one word.
struct Announced {
  std::uint64_t word;
  static std::uint64_t word_of(std::uint64_t loop, std::int64_t shares) noexcept {
    return loop * 2 * kMostShares + static_cast<std::uint64_t>(shares);
  }
  std::uint64_t loop() const noexcept { return word / (2 * kMostShares); }
  std::int64_t shares() const noexcept {
    return static_cast<std::int64_t>(word % (2 * kMostShares));
  }
};

/// A share's mark is twice the number of the last loop in which it was claimed, plus one when it is
/// done: it only grows, so that whoever comes late claims nothing.
using ShareMark = std::atomic<std::uint64_t>;
constexpr std::uint64_t done_mark(std::uint64_t loop) noexcept { return 2 * loop + 1; }
inline bool claim(ShareMark& mark, std::uint64_t loop) noexcept {
  std::uint64_t last = mark.load(std::memory_order_relaxed);
  while (last < 2 * loop) {
    if (mark.compare_exchange_weak(last, 2 * loop, std::memory_order_acq_rel)) return true;
  }
  return false;
}

/// The tasks of share `index` of `shares`.
inline void run_tasks(std::int64_t tasks, std::int64_t index, std::int64_t shares,
                      Executor::Task task, void* context) noexcept {
  const std::int64_t end = tasks * (index + 1) / shares;
  for (std::int64_t i = tasks * index / shares; i < end; ++i) task(context, i);
}

}  // namespace octavo
