// SPDX-License-Identifier: Apache-2.0
// Failing the n-th allocation of this thread.
#pragma once

#include <cstdint>

namespace octavo::test {

/// While it lives, counts this thread's allocations through operator new and lets the n-th (from 1)
/// and all later ones fail; 0 only counts.
class FailingAllocations {
 public:
  explicit FailingAllocations(std::int64_t n) noexcept;
  ~FailingAllocations();
  FailingAllocations(const FailingAllocations&) = delete;
  FailingAllocations& operator=(const FailingAllocations&) = delete;
  std::int64_t count() const noexcept;
  std::int64_t bytes() const noexcept;  ///< asked for by all of them
};

/// Bytes that operator new has handed out and not got back, in the whole program.
std::int64_t live_allocations() noexcept;

}  // namespace octavo::test
