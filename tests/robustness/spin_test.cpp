// SPDX-License-Identifier: Apache-2.0
// Runs of small calls on the default executor, whose threads stay awake between them. ctest runs
// these with OCTAVO_SPIN=0 as well.
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <thread>
#include <vector>

#include "ops/helpers.hpp"
#include "support/sanitizers.hpp"

namespace octavo::test::spin_test {
namespace {

// Large enough to be shared among threads, small enough for its end to meet the next call.
struct Product {
  Tensor a = integers(int8, {32, 384}, 1);
  Tensor b = integers(int8, {384, 384}, 2);
  Tensor want = scaled_mm(a, b, {}, {.executor = &serial_executor()});

  bool holds() const {
    const Tensor got = scaled_mm(a, b);
    return std::memcmp(got.data(), want.data(), static_cast<std::size_t>(want.numel() * 4)) == 0;
  }
};

// For some microseconds, without sleep.
void busy(int time) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(time);
  while (std::chrono::steady_clock::now() < end) {
  }
}

TEST(Spin, CallsInTurnAndAtOnceHaveTheSameBits) {
  const Product product;
  for (const int callers : {1, 2, 5}) {
    std::vector<std::thread> threads;
    std::atomic<int> wrong{0};
    for (int caller = 0; caller < callers; ++caller) {
      threads.emplace_back([&, caller] {
        for (int i = 0; i < 200; ++i) {
          wrong += static_cast<int>(!product.holds());
          busy((i * 7 + caller) % 60);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(wrong, 0) << callers;
  }
}

TEST(Spin, CallersThatEndLeaveNothingBehind) {
  const Product product;
  for (int i = 0; i < 50; ++i) {
    bool holds = false;
    std::thread([&] { holds = product.holds(); }).join();
    ASSERT_TRUE(holds);
    ASSERT_TRUE(product.holds());
  }
}

TEST(Spin, AForkBetweenCallsLeavesBothSidesWhole) {
  if (kThreadSanitizer) GTEST_SKIP() << "ThreadSanitizer does not follow a multithreaded fork";
  const Product product;
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(product.holds());
    busy(i % 25);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      ::alarm(60);  // a child that waits for threads it does not have ends too
      bool holds = true;
      for (int call = 0; call < 5; ++call) holds = product.holds() && holds;
      ::_exit(holds ? 0 : 1);
    }
    ASSERT_TRUE(product.holds());
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  }
}

// All threads of this process on some processors.
void bind(const cpu_set_t& processors) {
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    ::sched_setaffinity(std::stoi(task.path().filename()), sizeof processors, &processors);
  }
}

// As where a container is given fewer processors than there were.
TEST(Spin, ManyThreadsOnOneProcessorEnd) {
  const Product product;
  ASSERT_TRUE(product.holds());
  cpu_set_t all, one;
  ASSERT_EQ(::sched_getaffinity(0, sizeof all, &all), 0);
  int first = 0;
  while (!CPU_ISSET(first, &all)) ++first;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  bind(one);
  bool holds = true;
  for (int i = 0; i < 200; ++i) holds = product.holds() && holds;
  bind(all);
  EXPECT_TRUE(holds);
}

}  // namespace
}  // namespace octavo::test::spin_test
