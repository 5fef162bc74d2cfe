// SPDX-License-Identifier: Apache-2.0
// Calling an entry point again and again, each time failing one allocation more.
#pragma once

#include <gtest/gtest.h>

#include <functional>

#include "octavo/octavo.hpp"
#include "support/allocation.hpp"

namespace octavo::test {

struct EntryPoint {
  const char* name;
  std::function<void(const ExecContext&)> call;
  std::function<void()> prepare = [] {};  ///< makes the arguments of one call, with memory for all
};

struct Outcome {
  bool threw = false;
  bool escaped = false;  // something else than an Error
  Code code = Code::ok;
  std::int64_t count = 0;
};

inline Outcome failing_from(std::int64_t n, const EntryPoint& entry) {
  const ExecContext serial{.executor = &serial_executor()};
  Outcome outcome;
  entry.prepare();
  try {
    const FailingAllocations failing(n);
    entry.call(serial);
    outcome.count = failing.count();
  } catch (const Error& error) {
    outcome.threw = true;
    outcome.code = error.code();
  } catch (...) {
    outcome.escaped = true;
  }
  return outcome;
}

/// Whichever allocation is the first to fail, the call ends in Error(out_of_memory), leaks nothing
/// and can be made again.
inline void expect_out_of_memory(const EntryPoint& entry) {
  (void)failing_from(0, entry);  // what threads keep is allocated now
  const Outcome normal = failing_from(0, entry);
  ASSERT_FALSE(normal.threw || normal.escaped);
  ASSERT_GT(normal.count, 0);
  for (std::int64_t n = 1; n <= normal.count; ++n) {
    const std::int64_t before = live_allocations();
    const Outcome outcome = failing_from(n, entry);
    const std::int64_t after = live_allocations();
    EXPECT_TRUE(outcome.threw) << "allocation " << n << " of " << normal.count;
    EXPECT_FALSE(outcome.escaped) << "allocation " << n;
    EXPECT_EQ(code_name(outcome.code), code_name(Code::out_of_memory)) << "allocation " << n;
    EXPECT_EQ(after, before) << "allocation " << n;
  }
  EXPECT_FALSE(failing_from(0, entry).threw);
}

}  // namespace octavo::test
