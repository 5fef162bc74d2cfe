// SPDX-License-Identifier: Apache-2.0
// Loops of a team whose helpers come at once, late, never, or in number.
#include "core/threads/helper_team.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

namespace octavo::test::helper_team_test {
namespace {

using std::chrono::microseconds;

// How often each task of a loop ran, each for some time.
struct Counts {
  explicit Counts(std::int64_t tasks) : ran(static_cast<std::size_t>(tasks)) {}
  static void task(void* self, std::int64_t index) noexcept {
    auto& counts = *static_cast<Counts*>(self);
    if (counts.time.count() > 0) std::this_thread::sleep_for(counts.time);
    ++counts.ran[static_cast<std::size_t>(index)];
  }
  std::vector<int> ran;  // no atomics: ThreadSanitizer shall see who writes them
  microseconds time{0};
};

void expect_once(const Counts& counts) {
  for (const int ran : counts.ran) ASSERT_EQ(ran, 1);
}

// A pool that starts a thread for every helper, which are joined at the end.
class Pool {
 public:
  static bool start(HelperTeam& team) noexcept {
    const std::lock_guard lock(mutex_);
    threads_.emplace_back([&team] { team.help(); });
    return true;
  }
  ~Pool() {
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

 private:
  static inline std::mutex mutex_;
  static inline std::vector<std::thread> threads_;
};

bool none(HelperTeam&) noexcept { return false; }
bool never(HelperTeam&) noexcept { return true; }

TEST(HelperTeam, RunsEveryTaskOnceWhoeverComes) {
  for (const HelperTeam::Start start : {&none, &never, &Pool::start}) {
    const auto team = std::make_unique<HelperTeam>();
    const Pool pool;
    for (const std::int64_t shares : {1, 2, 3, 7, 64}) {
      for (const std::int64_t tasks : {shares, shares + 1, 3 * shares + 2}) {
        Counts counts(tasks);
        ASSERT_TRUE(team->run(tasks, shares, &Counts::task, &counts, start));
        expect_once(counts);
      }
    }
  }
}

TEST(HelperTeam, ARunOfLoopsWithAnyGapsIsRunWhole) {
  const auto team = std::make_unique<HelperTeam>();
  const Pool pool;
  std::mt19937 random(7);
  for (int i = 0; i < 400; ++i) {
    const std::int64_t shares = 2 + i % 3;
    Counts counts(2 * shares);
    // Above and below what a helper waits for a loop, and a caller for a share.
    counts.time = microseconds(random() % 4 == 0 ? 50 : 0);
    ASSERT_TRUE(team->run(2 * shares, shares, &Counts::task, &counts, &Pool::start));
    expect_once(counts);
    const auto end = std::chrono::steady_clock::now() + microseconds(random() % 40);
    while (std::chrono::steady_clock::now() < end) {
    }
  }
}

TEST(HelperTeam, AHelperThatComesAfterItsLoopLeavesAtOnce) {
  const auto team = std::make_unique<HelperTeam>();
  Counts counts(4);
  ASSERT_TRUE(team->run(4, 2, &Counts::task, &counts, &never));
  team->help();
  expect_once(counts);
}

TEST(HelperTeam, IsOneCallersAtATime) {
  const auto team = std::make_unique<HelperTeam>();
  const Pool pool;
  std::atomic<int> whole{0}, refused{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&] {
      for (int i = 0; i < 100; ++i) {
        Counts counts(6);
        if (team->run(6, 3, &Counts::task, &counts, &Pool::start)) {
          whole += static_cast<int>(std::ranges::count(counts.ran, 1) == 6);
        } else {
          const HelperTeam::Outsider outsider(*team);
          refused += static_cast<int>(std::ranges::count(counts.ran, 0) == 6);
        }
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(whole + refused, 400);
  EXPECT_GT(whole, 0);
}

}  // namespace
}  // namespace octavo::test::helper_team_test
