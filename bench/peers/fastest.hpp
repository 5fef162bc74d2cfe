// SPDX-License-Identifier: Apache-2.0
// For modules: which of several ways to wire a peer is its best.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <vector>

namespace octavo::peers {

/// Reads more memory than a last-level cache holds.
inline void forget_caches() {
  static const std::vector<char> memory(std::size_t{96} << 20, 1);
  volatile char sink = 0;
  for (std::size_t i = 0; i < memory.size(); i += 64) sink = memory[i];
  (void)sink;
}

/// Seconds of one call, the best of several; each finds its weights in memory where `cold`.
template <class Call>
double best_time(const Call& call, bool cold) {
  using Clock = std::chrono::steady_clock;
  double best = 0.0;
  double spent = 0.0;
  call();
  for (int i = 0; i < 3 || (i < 50 && spent < 0.02); ++i) {
    if (cold) forget_caches();
    const Clock::time_point start = Clock::now();
    call();
    const double elapsed = std::chrono::duration<double>(Clock::now() - start).count();
    best = i == 0 ? elapsed : std::min(best, elapsed);
    spent += elapsed;
    if (i > 0 && elapsed > 1.0) break;
  }
  return best;
}

}  // namespace octavo::peers
