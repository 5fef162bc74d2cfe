// SPDX-License-Identifier: Apache-2.0
// Problems on chosen dot-product kernels and numbers of threads.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>

#include "backends/cpu/dot/backends.hpp"
#include "backends/cpu/dot/driver.hpp"
#include "kernels/rows/block.hpp"
#include "core/problem/members.hpp"
#include "core/threads/parallel.hpp"
#include "octavo/octavo.hpp"

namespace octavo::test {

/// Says how many threads it has, and runs tasks one after the other, the last one first.
class Pretender final : public Executor {
 public:
  explicit Pretender(int threads) noexcept : threads_(threads) {}
  int concurrency() const noexcept override { return threads_; }
  void parallel(std::int64_t tasks, Task task, void* context) noexcept override {
    most_ = std::max(most_, tasks);
    for (std::int64_t i = tasks; i-- > 0;) task(context, i);
  }
  std::int64_t most_tasks() const { return most_; }

 private:
  int threads_;
  std::int64_t most_ = 1;
};

/// Why a machine's kernels do not run a problem; null: they do.
inline const char* refusal(const MatmulProblem& problem, const cpu::DotMachine& machine) {
  Plan plan;
  return cpu::plan_dot(kAvx512Backend, problem, machine, 1, plan);
}

/// One problem on one machine's kernels, in a workspace of the announced size between guard pages.
inline void run_alone(const cpu::DotMachine& machine, const MatmulProblem& problem,
                      const ExecContext& context) {
  Plan plan;
  const char* why =
      cpu::plan_dot(kAvx512Backend, problem, machine, executor_of(context).concurrency(), plan);
  ASSERT_STREQ(why, nullptr);
  const Block<char> workspace(static_cast<std::int64_t>(plan.workspace_bytes));
  std::size_t used = 0;
  ASSERT_TRUE(
      cpu::run_dot(kAvx512Backend, problem, machine, plan, context, workspace.data(), used).ok());
  if (has_offsets(problem)) {
    EXPECT_LE(used, plan.workspace_bytes);  // which is for any offsets
  } else {
    EXPECT_EQ(used, plan.workspace_bytes);
  }
}

}  // namespace octavo::test
