// SPDX-License-Identifier: Apache-2.0
// A forked child has no pool: it computes on its own thread, and explain says so.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

#include "ops/helpers.hpp"
#include "support/sanitizers.hpp"

namespace octavo::test::fork_test {
namespace {

TEST(Fork, TheChildRunsSeriallyWithTheSameBitsAndExplainSaysSo) {
  if (kThreadSanitizer) GTEST_SKIP() << "ThreadSanitizer does not follow a multithreaded fork";
  const Tensor a = integers(int8, {200, 300}, 1);
  const Tensor b = integers(int8, {300, 400}, 2);
  const Tensor want = scaled_mm(a, b);  // the pool exists now
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::alarm(60);  // a child that waits for threads it does not have ends too
    const Tensor got = scaled_mm(a, b);
    const bool equal =
        std::memcmp(got.data(), want.data(), static_cast<std::size_t>(want.numel() * 4)) == 0;
    const std::string text = explain(scaled_mm_problem(a, b)).executor;
    const bool written =
        ::write(ends[1], text.data(), text.size()) == static_cast<ssize_t>(text.size());
    ::_exit(equal && written && default_executor().concurrency() == 1 ? 0 : 1);
  }
  ::close(ends[1]);
  std::string text;
  char buffer[256];
  for (ssize_t n = 0; (n = ::read(ends[0], buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<std::size_t>(n));
  }
  ::close(ends[0]);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status)) << "the child was ended by signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(text, "1 threads, serial: this process was forked and has no pool of its own");
  // The parent's pool is as it was.
  expect_same_bits(scaled_mm(a, b), want);
  EXPECT_EQ(std::string(default_executor_reason()).find("forked"), std::string::npos);
}

}  // namespace
}  // namespace octavo::test::fork_test
