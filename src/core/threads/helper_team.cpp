// SPDX-License-Identifier: Apache-2.0
#include "core/threads/helper_team.hpp"

#include "core/threads/spin.hpp"

namespace octavo {
namespace {

// Threads that one thread starts: with many, those that come start the others.
constexpr int kStartedByOne = 4;

using Clock = std::chrono::steady_clock;

}  // namespace

bool HelperTeam::claim(std::int64_t share, std::uint64_t loop) noexcept {
  return octavo::claim(shares_[static_cast<std::size_t>(share)].mark, loop);
}

void HelperTeam::run_share(std::int64_t index, std::uint64_t loop) noexcept {
  run_tasks(loop_.tasks, index, loop_.shares, loop_.task, loop_.context);
  Share& share = shares_[static_cast<std::size_t>(index)];
  share.mark.store(done_mark(loop));
  if (share.awaited.load()) {
    share.awaited.store(false);
    share.awaited.notify_one();
  }
}

void HelperTeam::wait_for(Share& share, std::uint64_t loop) noexcept {
  const auto done = [&] { return share.mark.load() == done_mark(loop); };
  if (done() || spin(Clock::now() + kSpin, done)) return;
  while (!done()) {
    share.awaited.store(true);  // before it looks again, as helpers look at this after the mark
    if (!done()) share.awaited.wait(true);
  }
  share.awaited.store(false);
}

void HelperTeam::call_helpers() noexcept {
  std::int64_t missing = 0;
  for (std::int64_t i = 1; i < loop_.shares; ++i) {
    missing += !shares_[static_cast<std::size_t>(i)].helped.load();
  }
  for (int started = 0; started < kStartedByOne; ++started) {
    const bool wanted = coming_.fetch_add(1) < missing;
    if (wanted && loop_.start(*this)) continue;
    coming_.fetch_sub(1);
    return;
  }
}

bool HelperTeam::run(std::int64_t tasks, std::int64_t shares, Executor::Task task, void* context,
                     Start start) noexcept {
  if (busy_.exchange(true, std::memory_order_acquire)) return false;
  loop_ = {tasks, shares, task, context, start};
  const Announced last{announced_.load(std::memory_order_relaxed)};
  const std::uint64_t loop = last.loop() + 1;
  announced_.store(Announced::word_of(loop, shares));
  call_helpers();
  run_share(0, loop);
  for (std::int64_t i = 1; i < shares; ++i) {
    if (claim(i, loop)) run_share(i, loop);
  }
  for (std::int64_t i = 1; i < shares; ++i) wait_for(shares_[static_cast<std::size_t>(i)], loop);
  busy_.store(false, std::memory_order_release);
  return true;
}

// The first share of the loop at hand that nobody looks after, 0 for none.
std::int64_t HelperTeam::find_share() noexcept {
  if (!busy_.load(std::memory_order_relaxed)) return 0;
  const std::int64_t shares = Announced{announced_.load()}.shares();
  for (std::int64_t i = 1; i < shares; ++i) {
    std::atomic<bool>& helped = shares_[static_cast<std::size_t>(i)].helped;
    if (!helped.load(std::memory_order_relaxed) && !helped.exchange(true)) return i;
  }
  return 0;
}

void HelperTeam::help() noexcept {
  const std::int64_t share = find_share();
  coming_.fetch_sub(1);
  if (share != 0) look_after(share);
}

void HelperTeam::look_after(std::int64_t share) noexcept {
  std::atomic<bool>& helped = shares_[static_cast<std::size_t>(share)].helped;
  Clock::time_point end = Clock::now() + kSpin;
  for (bool comes = true;; comes = false) {
    const Announced now{announced_.load()};
    if (share < now.shares()) {
      if (claim(share, now.loop())) {
        if (comes) call_helpers();
        run_share(share, now.loop());
      }
      end = Clock::now() + kSpin;
    }
    const auto news = [&] { return announced_.load() != now.word; };
    const auto wanted = [&] { return outsiders_.load(std::memory_order_relaxed) > 0; };
    if (spin(end, [&] { return news() || wanted(); }) && news()) continue;
    // A caller that still counted on this helper has announced its loop before it looked.
    helped.store(false);
    if (!news() || helped.exchange(true)) return;
  }
}

}  // namespace octavo
