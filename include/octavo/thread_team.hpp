// SPDX-License-Identifier: Apache-2.0
// Threads of a host that all enter a call together: thread i of n runs its share.
#pragma once

#include <cstdint>
#include <memory>

#include "octavo/context.hpp"

namespace octavo {

/// An executor for engines whose threads come to an operation together, as thread i of n, and for
/// which no pool may be woken beside them.
///
/// Thread 0 leads: it calls operations with this executor, then `end`. Threads 1 .. n - 1 call
/// `help` once for each `end`: they run their shares of every loop in between, and return when
/// thread 0 ends it. Whoever comes late misses nothing but work: thread 0 runs what nobody has
/// begun. Results have the bits that every executor gives. Helpers look for the next loop for
/// 50 us before they sleep.
///
///     octavo::ThreadTeam team(n);                 // once, for all of the engine's threads
///     ...
///     if (i > 0) return team.help(i);             // on each thread, for each product
///     octavo::linear(x, weight, {.out = y}, {.executor = &team});
///     team.end();
class OCTAVO_API ThreadTeam final : public Executor {
 public:
  /// `threads`: n, thread 0 included. Throws: Error unless it is in [1, 512]; std::bad_alloc.
  explicit ThreadTeam(int threads);
  /// No thread may be inside `help`.
  ~ThreadTeam() override;
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  /// Thread `thread` lends itself until thread 0 calls `end`. Each thread counts its own calls, so
  /// that its call k belongs to the k-th `end`. `thread` outside [1, n) returns at once.
  void help(int thread) noexcept;
  /// Thread 0 says that its operations are over.
  void end() noexcept;

  int concurrency() const noexcept override;
  void parallel(std::int64_t tasks, Task task, void* context) noexcept override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace octavo
