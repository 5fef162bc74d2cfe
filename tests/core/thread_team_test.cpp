// SPDX-License-Identifier: Apache-2.0
// Threads that enter calls together: whoever comes early, late or never, tasks run once and bits
// stay.
#include "octavo/thread_team.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "octavo/octavo.hpp"

namespace octavo::test::thread_team_test {
namespace {

struct Counts {
  explicit Counts(std::int64_t tasks) : ran(static_cast<std::size_t>(tasks)) {}
  static void task(void* self, std::int64_t index) noexcept {
    auto& counts = *static_cast<Counts*>(self);
    ++counts.ran[static_cast<std::size_t>(index)];
    if (counts.pause) std::this_thread::yield();
  }
  std::vector<int> ran;  // no atomics: ThreadSanitizer shall see who writes them
  bool pause = false;
};

// Calls `body(i)` on `threads` threads at once.
template <class Body>
void together(int threads, const Body& body) {
  std::vector<std::thread> started;
  for (int i = 1; i < threads; ++i) started.emplace_back([&body, i] { body(i); });
  body(0);
  for (std::thread& thread : started) thread.join();
}

TEST(ThreadTeam, RunsEveryTaskOnce) {
  for (const int threads : {1, 2, 3, 7}) {
    ThreadTeam team(threads);
    constexpr int kCalls = 200;
    together(threads, [&](int i) {
      for (int call = 0; call < kCalls; ++call) {
        if (i > 0) {
          team.help(i);
          continue;
        }
        // No loop, one, several; fewer tasks than threads, as many, more.
        for (int loop = 0; loop < call % 4; ++loop) {
          Counts counts((call * 5 + loop) % 23);
          counts.pause = call % 7 == 0;
          team.parallel(static_cast<std::int64_t>(counts.ran.size()), &Counts::task, &counts);
          for (const int ran : counts.ran) ASSERT_EQ(ran, 1);
        }
        team.end();
      }
    });
  }
}

TEST(ThreadTeam, TheLeaderNeedsNobody) {
  ThreadTeam team(5);
  Counts counts(12);
  team.parallel(12, &Counts::task, &counts);
  team.end();
  for (const int ran : counts.ran) EXPECT_EQ(ran, 1);
  // Whoever comes after the end, or is no member, returns at once.
  team.help(3);
  for (const int thread : {0, -1, 5, 1 << 20}) team.help(thread);
}

// Helpers do work: a task that waits for another one's thread ends.
TEST(ThreadTeam, HelpersRunTheirShares) {
  struct Meeting {
    static void task(void* self, std::int64_t) noexcept {
      auto& there = static_cast<Meeting*>(self)->there;
      ++there;
      while (there.load() < 3) std::this_thread::yield();
    }
    std::atomic<int> there{0};
  };
  ThreadTeam team(3);
  together(3, [&](int i) {
    if (i > 0) return team.help(i);
    Meeting meeting;
    team.parallel(3, &Meeting::task, &meeting);
    team.end();
  });
}

TEST(ThreadTeam, ProductsHaveTheirBits) {
  std::vector<float> values(129 * 256);
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(i * 7919 % 1009) / 64.0F - 8.0F;
  }
  const TensorView x = view(values.data(), {33, 256});
  const TensorView weight = view(values.data() + 33 * 256, {96, 256}).transposed();
  const PackedWeight packed =
      pack(quantize(weight, {.granularity = per_channel(), .side = Side::b}),
           {.activation = ActivationQuant{}});
  const Tensor expected = linear(x, packed);
  ThreadTeam team(4);
  together(4, [&](int i) {
    for (int call = 0; call < 20; ++call) {
      if (i > 0) {
        team.help(i);
        continue;
      }
      const Tensor y = linear(x, packed, {}, {.executor = &team});
      team.end();
      for (std::size_t at = 0; at < 33 * 96; ++at) {
        ASSERT_EQ(y.data_as<float>()[at], expected.data_as<float>()[at]);
      }
    }
  });
}

TEST(ThreadTeam, RefusesSizes) {
  for (const int threads : {0, -1, 513}) {
    try {
      const ThreadTeam team(threads);
      FAIL();
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("thread_team: threads must be in [1, 512]; got "),
                std::string::npos);
    }
  }
}

}  // namespace
}  // namespace octavo::test::thread_team_test
