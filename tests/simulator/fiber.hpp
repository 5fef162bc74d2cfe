// SPDX-License-Identifier: Apache-2.0
// Threads that are resumed and suspended by hand: a simulated thread each.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

namespace octavo::cuda::simulator {

/// A function on a stack of its own. `resume` runs it until it calls `suspend` or returns; whatever
/// it throws must be caught inside. Resumed and suspended by one host thread.
class Fiber {
 public:
  static constexpr std::size_t kStackBytes = std::size_t{128} << 10;

  explicit Fiber(std::function<void()> body);
  ~Fiber();
  Fiber(Fiber&&) noexcept;
  Fiber& operator=(Fiber&&) = delete;

  void resume();
  /// Back to whoever resumed the fiber that is running.
  static void suspend();
  bool done() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace octavo::cuda::simulator
