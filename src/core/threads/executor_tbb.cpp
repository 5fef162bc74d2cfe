// SPDX-License-Identifier: Apache-2.0
// Parallel loops on oneTBB: static partition, in the caller's arena unless a limit is set.
#include "core/threads/executor_tbb.hpp"

#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <exception>
#include <new>

#include "core/env.hpp"
#include "core/fp_env.hpp"
#include "core/threads/helper_team.hpp"

namespace octavo {
namespace {

constexpr std::size_t kMaxWorkers = HelperTeam::kMostShares;  // of one loop

constinit HelperTeam team;

// By a task in the caller's arena. Where the program allows oneTBB no other thread, a task that is
// enqueued would bring one in spite of that.
bool send_helper(HelperTeam& helpers) noexcept {
  using tbb::global_control;
  if (global_control::active_value(global_control::max_allowed_parallelism) <= 1) return false;
  try {
    tbb::this_task_arena::enqueue([&helpers] { helpers.help(); });
    return true;
  } catch (const std::exception&) {
    return false;  // no memory
  }
}

class TbbExecutor final : public Executor {
 public:
  TbbExecutor() noexcept
      : limit_(std::max(env::num_threads(), 0)), spins_(env::spin() == env::Spin::on) {}

  int concurrency() const noexcept override {
    const FloatEnvironment environment;  // the first call computes, which raises flags
    const int arena = tbb::this_task_arena::max_concurrency();
    return limit_ > 0 ? std::min(limit_, arena) : arena;
  }

  void parallel(std::int64_t tasks, Task task, void* context) noexcept override {
    const std::int64_t workers =
        std::min<std::int64_t>({tasks, concurrency(), std::int64_t{kMaxWorkers}});
    if (workers <= 1) {
      for (std::int64_t i = 0; i < tasks; ++i) task(context, i);
      return;
    }
    if (spins_ && team.run(tasks, workers, task, context, send_helper)) return;
    const HelperTeam::Outsider outsider(team);
    // One share per worker keeps each on neighbouring tasks, limit or not. A share is begun once:
    // where oneTBB runs out of memory, the shares that it did not begin run here.
    std::array<std::atomic<bool>, kMaxWorkers> begun{};
    const auto share = [&](std::int64_t worker) noexcept {
      if (begun[static_cast<std::size_t>(worker)].exchange(true)) return;
      const std::int64_t end = tasks * (worker + 1) / workers;
      for (std::int64_t i = tasks * worker / workers; i < end; ++i) task(context, i);
    };
    try {
      // Isolated: a thread that waits here must not begin another call of its caller's parallel
      // loop, which would use this thread's scratch memory a second time.
      tbb::this_task_arena::isolate(
          [&] { tbb::parallel_for(std::int64_t{0}, workers, share, tbb::static_partitioner()); });
    } catch (const std::exception&) {
      for (std::int64_t worker = 0; worker < workers; ++worker) share(worker);
    }
  }

 private:
  int limit_;
  bool spins_;
};

}  // namespace

Executor* tbb_executor() noexcept {
  // Never destroyed: threads may multiply while the process exits.
  alignas(TbbExecutor) static std::array<std::byte, sizeof(TbbExecutor)> memory;
  static auto* const executor = new (memory.data()) TbbExecutor;
  return executor;
}

}  // namespace octavo
