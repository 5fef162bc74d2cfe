// SPDX-License-Identifier: Apache-2.0
// The same work on several threads at once, timed from the first start to the last end.
#pragma once

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace octavo::kit {

using Clock = std::chrono::steady_clock;
inline double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Calls work(worker) on `threads` threads that begin together; returns the wall time.
template <class Work>
double run_together(int threads, const Work& work) {
  std::atomic<int> ready{0};
  std::atomic<bool> go{false};
  std::vector<std::thread> pool;
  for (int worker = 1; worker < threads; ++worker) {
    pool.emplace_back([&, worker] {
      ++ready;
      while (!go.load(std::memory_order_acquire)) std::this_thread::yield();
      work(worker);
    });
  }
  while (ready.load() + 1 < threads) std::this_thread::yield();
  const Clock::time_point start = Clock::now();
  go.store(true, std::memory_order_release);
  work(0);
  for (std::thread& thread : pool) thread.join();
  return seconds_since(start);
}

}  // namespace octavo::kit
