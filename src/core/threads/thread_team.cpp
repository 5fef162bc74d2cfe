// SPDX-License-Identifier: Apache-2.0
// The leader announces loops, members run their shares (shares.hpp) until it says that a call ends.
#include "octavo/thread_team.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <vector>

#include "core/error.hpp"
#include "core/threads/shares.hpp"
#include "core/threads/spin.hpp"

namespace octavo {
namespace {

constexpr std::chrono::microseconds kLook{50};

}  // namespace

struct ThreadTeam::State {
  struct alignas(64) Share {
    ShareMark mark{0};
    std::uint64_t calls = 0;  // of help, by its thread
  };

  explicit State(int threads) : shares(static_cast<std::size_t>(threads)) {}

  // Runs the share unless somebody has begun it. Whoever claims one keeps the leader waiting, and
  // with it what the loop needs.
  void run(std::size_t index, const Announced& loop) noexcept {
    ShareMark& mark = shares[index].mark;
    if (!claim(mark, loop.loop())) return;
    run_tasks(tasks, static_cast<std::int64_t>(index), loop.shares(), task, context);
    mark.store(done_mark(loop.loop()), std::memory_order_release);
    mark.notify_one();
  }

  void announce() noexcept {
    news.fetch_add(1);
    news.notify_all();
  }

  std::vector<Share> shares;
  // Of the loop at hand: written before its number is announced, read after a claim.
  std::int64_t tasks = 0;
  Task task = nullptr;
  void* context = nullptr;
  alignas(64) std::atomic<std::uint64_t> announced{0};
  std::atomic<std::uint64_t> ends{0};
  std::atomic<std::uint32_t> news{0};  // loops and ends
};

ThreadTeam::ThreadTeam(int threads)
    : state_(at_edge("thread_team", [&]() -> Result<std::unique_ptr<State>> {
        if (threads < 1 || threads > kMostShares) {
          return fail(Code::invalid_argument, "thread_team: threads must be in [1, {}]; got {}",
                      kMostShares, threads);
        }
        return std::make_unique<State>(threads);
      })) {}

ThreadTeam::~ThreadTeam() = default;

int ThreadTeam::concurrency() const noexcept { return static_cast<int>(state_->shares.size()); }

void ThreadTeam::parallel(std::int64_t tasks, Task task, void* context) noexcept {
  State& s = *state_;
  const std::int64_t used = std::min<std::int64_t>(tasks, concurrency());
  if (used <= 1) {
    for (std::int64_t i = 0; i < tasks; ++i) task(context, i);
    return;
  }
  s.tasks = tasks;
  s.task = task;
  s.context = context;
  const std::uint64_t number = Announced{s.announced.load(std::memory_order_relaxed)}.loop() + 1;
  const Announced loop{Announced::word_of(number, used)};
  s.announced.store(loop.word);
  s.announce();
  for (std::size_t i = 0; i < static_cast<std::size_t>(used); ++i) s.run(i, loop);
  for (std::size_t i = 0; i < static_cast<std::size_t>(used); ++i) {
    wait_until(kLook, s.shares[i].mark,
               [&](std::uint64_t mark) { return mark == done_mark(number); });
  }
}

void ThreadTeam::help(int thread) noexcept {
  State& s = *state_;
  if (thread < 1 || thread >= concurrency()) return;
  const auto index = static_cast<std::size_t>(thread);
  const std::uint64_t call = ++s.shares[index].calls;
  while (true) {
    const std::uint32_t seen = s.news.load();
    if (s.ends.load() >= call) return;
    const Announced loop{s.announced.load()};
    if (thread < loop.shares()) s.run(index, loop);
    wait_until(kLook, s.news, [&](std::uint32_t news) { return news != seen; });
  }
}

void ThreadTeam::end() noexcept {
  state_->ends.fetch_add(1);
  state_->announce();
}

}  // namespace octavo
