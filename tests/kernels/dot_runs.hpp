// SPDX-License-Identifier: Apache-2.0
// Problems on chosen dot-product kernels and numbers of threads.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>

#include "backends/cpu/avx512.hpp"
#include "backends/cpu/dot_driver.hpp"
#include "block.hpp"
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

/// One problem on one machine's kernels, in a workspace of the announced size between guard pages.
inline void run_alone(const cpu::DotMachine& machine, const MatmulProblem& problem,
                      const ExecContext& context) {
  ASSERT_STREQ(cpu::refuse_dot(problem, machine), nullptr);
  std::size_t bytes = 0;
  ASSERT_TRUE(cpu::measure_dot(kAvx512Backend, problem, machine, context, bytes).ok());
  const Block<char> workspace(static_cast<std::int64_t>(bytes));
  std::size_t used = 0;
  ASSERT_TRUE(cpu::run_dot(kAvx512Backend, problem, machine, context, workspace.data(), used).ok());
  EXPECT_EQ(used, bytes);
}

}  // namespace octavo::test
