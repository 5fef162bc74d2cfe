// SPDX-License-Identifier: Apache-2.0
// For modules: memory for weights, and which of several ways to wire a peer is its best.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <new>
#include <vector>

namespace octavo::peers {

/// Memory in 2 MB pages where the system gives them, as the bench asks for its own weights.
class Buffer {
 public:
  explicit Buffer(std::size_t bytes)
      : memory_(::operator new (round_up(bytes), std::align_val_t{kPage})) {
    ::madvise(memory_.get(), round_up(bytes), MADV_HUGEPAGE);
  }
  void* data() const { return memory_.get(); }

 private:
  static constexpr std::size_t kPage = std::size_t{2} << 20;
  static std::size_t round_up(std::size_t bytes) { return (bytes / kPage + 1) * kPage; }
  struct Free {
    void operator()(void* p) const { ::operator delete (p, std::align_val_t{kPage}); }
  };
  std::unique_ptr<void, Free> memory_;
};

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
  const int most = cold ? 12 : 50;  // forgetting takes longer than most calls
  for (int i = 0; i < 3 || (i < most && spent < 0.02); ++i) {
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
