// SPDX-License-Identifier: Apache-2.0
// The serial executor, the std::thread executor and the choice of the default one.
#include <pthread.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <new>
#include <thread>

#include "core/env.hpp"
#include "core/threads/executor_tbb.hpp"
#include "octavo/context.hpp"

namespace octavo {
namespace {

class SerialExecutor final : public Executor {
 public:
  int concurrency() const noexcept override { return 1; }
  void parallel(std::int64_t tasks, Task task, void* context) noexcept override {
    for (std::int64_t i = 0; i < tasks; ++i) task(context, i);
  }
};

std::atomic<bool> in_forked_child{false};

// A forked child has none of the pool's threads: it runs serially.
void watch_forks() noexcept {
  static const int registered =
      pthread_atfork(nullptr, nullptr, [] { in_forked_child.store(true); });
  (void)registered;
}

struct Choice {
  Executor* executor;
  const char* reason;
};

// Variables are read once, as the executor itself does.
const char* tbb_reason() noexcept {
  static const bool limited = env::num_threads() > 0;
  switch (env::spin()) {
    case env::Spin::on:
      return limited ? "oneTBB, at most OCTAVO_NUM_THREADS threads, awake for 20 us after a call"
                     : "oneTBB in the caller's arena, awake for 20 us after a call";
    case env::Spin::off:
      return limited ? "oneTBB, at most OCTAVO_NUM_THREADS threads, asleep after a call"
                     : "oneTBB in the caller's arena, asleep after a call";
    case env::Spin::wrong:
      break;
  }
  return "oneTBB, but OCTAVO_SPIN must be 0 or 1";
}

Choice choose() noexcept {
  watch_forks();
  if (in_forked_child.load(std::memory_order_relaxed)) {
    return {&serial_executor(), "serial: this process was forked and has no pool of its own"};
  }
  if (Executor* tbb = tbb_executor(); tbb != nullptr) return {tbb, tbb_reason()};
  return {&serial_executor(), "serial: this build has no oneTBB"};
}

}  // namespace

Executor& serial_executor() noexcept {
  // Never destroyed: threads may multiply while the process exits.
  alignas(SerialExecutor) static std::array<std::byte, sizeof(SerialExecutor)> memory;
  static auto* const executor = new (memory.data()) SerialExecutor;
  return *executor;
}

Executor& default_executor() noexcept { return *choose().executor; }
const char* default_executor_reason() noexcept { return choose().reason; }

void ThreadExecutor::parallel(std::int64_t tasks, Task task, void* context) noexcept {
  const std::int64_t workers = std::min<std::int64_t>(threads_, tasks);
  const auto run_share = [=](std::int64_t worker) noexcept {
    const std::int64_t end = tasks * (worker + 1) / workers;
    for (std::int64_t i = tasks * worker / workers; i < end; ++i) task(context, i);
  };
  // A stack of threads without a container: each level starts one and runs its own share, so that
  // a thread that cannot be started only means that its share runs here.
  const auto start = [&](const auto& self, std::int64_t worker) noexcept -> void {
    if (worker + 1 >= workers) return run_share(worker);
    std::thread helper;
    try {
      helper = std::thread(run_share, worker);
    } catch (...) {
      run_share(worker);
    }
    self(self, worker + 1);
    if (helper.joinable()) helper.join();
  };
  if (tasks > 0) start(start, 0);
}

}  // namespace octavo
