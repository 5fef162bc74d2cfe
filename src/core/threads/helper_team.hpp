// SPDX-License-Identifier: Apache-2.0
// Threads of a pool that stay awake for a moment after a loop, so that the next one finds them so.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>

#include "core/threads/shares.hpp"
#include "octavo/context.hpp"

namespace octavo {

/// A loop is cut into a share for its caller and one for each helper. Helpers are threads that the
/// pool lends: they come by help() and leave by themselves. Whoever claims a share first runs it,
/// and the caller claims what no helper has begun, so a loop ends whether helpers come or not.
/// A team has to outlive the pool's threads.
class HelperTeam {
 public:
  static constexpr std::int64_t kMostShares = octavo::kMostShares;
  /// How long a helper looks for the next loop, and a caller for the end of a share, before it
  /// sleeps.
  static constexpr std::chrono::microseconds kSpin{20};

  /// Has a thread of the pool call help() soon; false: it cannot.
  using Start = bool (*)(HelperTeam& team) noexcept;

  /// Runs tasks in `shares` shares and returns when all are done. False: another thread has the
  /// team; nothing was run.
  bool run(std::int64_t tasks, std::int64_t shares, Executor::Task task, void* context,
           Start start) noexcept;

  /// What a thread that was started does: its share of this loop, and of those that come in time.
  void help() noexcept;

  /// A caller whose loop runs elsewhere in the pool: while there is one, no helper waits for a
  /// loop.
  class Outsider {
   public:
    explicit Outsider(HelperTeam& team) noexcept : team_(team) {
      team_.outsiders_.fetch_add(1, std::memory_order_relaxed);
    }
    ~Outsider() { team_.outsiders_.fetch_sub(1, std::memory_order_relaxed); }
    Outsider(const Outsider&) = delete;
    Outsider& operator=(const Outsider&) = delete;

   private:
    HelperTeam& team_;
  };

 private:
  struct alignas(64) Share {
    ShareMark mark{0};
    std::atomic<bool> awaited{false};  // the caller sleeps until it is done
    std::atomic<bool> helped{false};   // a thread looks after this share
  };
  struct Loop {
    std::int64_t tasks, shares;
    Executor::Task task;
    void* context;
    Start start;
  };

  bool claim(std::int64_t share, std::uint64_t loop) noexcept;
  void run_share(std::int64_t share, std::uint64_t loop) noexcept;
  void wait_for(Share& share, std::uint64_t loop) noexcept;
  void call_helpers() noexcept;
  std::int64_t find_share() noexcept;
  void look_after(std::int64_t share) noexcept;

  alignas(64) std::atomic<std::uint64_t> announced_{0};
  Loop loop_{};  // for those who have claimed a share of it
  alignas(64) std::atomic<bool> busy_{false};
  std::atomic<int> outsiders_{0};
  std::atomic<std::int64_t> coming_{0};  // helpers that were started and are not there yet
  std::array<Share, kMostShares> shares_{};
};

}  // namespace octavo
