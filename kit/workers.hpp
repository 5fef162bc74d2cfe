// SPDX-License-Identifier: Apache-2.0
// Timing calls, and the same work on several threads at once, from the first start to the last end.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

namespace octavo::kit {

using Clock = std::chrono::steady_clock;
inline double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Seconds per call over at least `seconds`, after a call that nobody counts.
template <class Call>
double seconds_per_call(const Call& call, double seconds) {
  call();
  const Clock::time_point start = Clock::now();
  std::int64_t calls = 0;
  double elapsed = 0.0;
  for (; elapsed < seconds; elapsed = seconds_since(start), ++calls) call();
  return elapsed / static_cast<double>(std::max<std::int64_t>(calls, 1));
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

/// Calls work(begin, end) for parts of [0, count), on as many threads as there are `grain`s of work
/// and processors.
template <class Work>
void for_ranges(std::int64_t count, std::int64_t grain, const Work& work) {
  const std::int64_t wanted = std::min<std::int64_t>(
      count / grain, static_cast<std::int64_t>(std::thread::hardware_concurrency()));
  if (wanted <= 1) return work(std::int64_t{0}, count);
  run_together(static_cast<int>(wanted),
               [&](int worker) { work(count * worker / wanted, count * (worker + 1) / wanted); });
}

}  // namespace octavo::kit
