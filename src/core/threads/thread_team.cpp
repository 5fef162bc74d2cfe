// SPDX-License-Identifier: Apache-2.0
// A loop is announced by its number; a share's mark says which loop it was begun and ended for, so
// that it runs once whoever comes first, and a thread that comes late finds nothing to begin.
#include "octavo/thread_team.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <vector>

#include "core/error.hpp"
#include "core/threads/spin.hpp"

namespace octavo {
namespace {

constexpr int kMostThreads = 512;
constexpr std::chrono::microseconds kLook{50};

// A loop's number, from 1, and its shares, in one word.
struct Loop {
  static std::uint64_t word_of(std::uint64_t number, std::size_t shares) noexcept {
    return number * 2 * kMostThreads + shares;
  }
  std::uint64_t number() const noexcept { return word / (2 * kMostThreads); }
  std::size_t shares() const noexcept { return word % (2 * kMostThreads); }
  std::uint64_t word;
};

}  // namespace

struct ThreadTeam::State {
  // Twice the number of the last loop in which it was begun, plus one when it is done: only grows.
  struct alignas(64) Share {
    std::atomic<std::uint64_t> mark{0};
    std::uint64_t calls = 0;  // of help, by its thread
  };

  explicit State(int threads) : shares(static_cast<std::size_t>(threads)) {}

  bool claim(std::size_t index, std::uint64_t number) noexcept {
    std::atomic<std::uint64_t>& mark = shares[index].mark;
    std::uint64_t last = mark.load(std::memory_order_relaxed);
    while (last < 2 * number) {
      if (mark.compare_exchange_weak(last, 2 * number, std::memory_order_acq_rel)) return true;
    }
    return false;
  }

  // Whoever claims a share of a loop keeps the leader waiting, and with it what the loop needs.
  void run(std::size_t index, std::uint64_t number) noexcept {
    const auto share = static_cast<std::int64_t>(index);
    const auto used = static_cast<std::int64_t>(Loop{announced.load()}.shares());
    const std::int64_t end = tasks * (share + 1) / used;
    for (std::int64_t i = tasks * share / used; i < end; ++i) task(context, i);
    shares[index].mark.store(2 * number + 1, std::memory_order_release);
    shares[index].mark.notify_one();
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
        if (threads < 1 || threads > kMostThreads) {
          return fail(Code::invalid_argument, "thread_team: threads must be in [1, {}]; got {}",
                      kMostThreads, threads);
        }
        return std::make_unique<State>(threads);
      })) {}

ThreadTeam::~ThreadTeam() = default;

int ThreadTeam::concurrency() const noexcept { return static_cast<int>(state_->shares.size()); }

void ThreadTeam::parallel(std::int64_t tasks, Task task, void* context) noexcept {
  State& s = *state_;
  const auto used = static_cast<std::size_t>(std::min<std::int64_t>(tasks, concurrency()));
  if (used <= 1) {
    for (std::int64_t i = 0; i < tasks; ++i) task(context, i);
    return;
  }
  s.tasks = tasks;
  s.task = task;
  s.context = context;
  const std::uint64_t number = Loop{s.announced.load(std::memory_order_relaxed)}.number() + 1;
  s.announced.store(Loop::word_of(number, used));
  s.announce();
  for (std::size_t i = 0; i < used; ++i) {
    if (s.claim(i, number)) s.run(i, number);
  }
  for (std::size_t i = 0; i < used; ++i) {
    wait_until(kLook, s.shares[i].mark, [&](std::uint64_t mark) { return mark == 2 * number + 1; });
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
    const Loop loop{s.announced.load()};
    if (index < loop.shares() && s.claim(index, loop.number())) s.run(index, loop.number());
    wait_until(kLook, s.news, [&](std::uint32_t news) { return news != seen; });
  }
}

void ThreadTeam::end() noexcept {
  state_->ends.fetch_add(1);
  state_->announce();
}

}  // namespace octavo
