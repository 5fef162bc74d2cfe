// SPDX-License-Identifier: Apache-2.0
// The executor of a call.
#pragma once

#include <algorithm>
#include <cstdint>

#include "octavo/context.hpp"

namespace octavo {

inline Executor& executor_of(const ExecContext& context) noexcept {
  return context.executor != nullptr ? *context.executor : default_executor();
}

/// An executor whose concurrency cannot change between measuring a workspace and using it. Over the
/// serial one it says how many threads there are where nothing runs: for plans.
class PinnedExecutor final : public Executor {
 public:
  explicit PinnedExecutor(Executor& executor) noexcept
      : PinnedExecutor(executor, executor.concurrency()) {}
  PinnedExecutor(Executor& executor, int concurrency) noexcept
      : executor_(executor), concurrency_(std::max(1, concurrency)) {}
  int concurrency() const noexcept override { return concurrency_; }
  void parallel(std::int64_t tasks, Task task, void* context) noexcept override {
    executor_.parallel(tasks, task, context);
  }

 private:
  Executor& executor_;
  int concurrency_;
};

}  // namespace octavo
