// SPDX-License-Identifier: Apache-2.0
// Parallel loops over an Executor.
#pragma once

#include <cstdint>

#include "core/fp_env.hpp"
#include "octavo/context.hpp"

namespace octavo {

inline Executor& executor_of(const ExecContext& context) noexcept {
  return context.executor != nullptr ? *context.executor : default_executor();
}

/// Calls body(i) for i in [0, tasks), each in the specification's floating-point environment.
/// The body must not throw.
template <class Body>
void parallel_for(const ExecContext& context, std::int64_t tasks, const Body& body) noexcept {
  struct Call {
    static void run(void* self, std::int64_t index) noexcept {
      const FloatEnvironment environment;
      (*static_cast<const Body*>(self))(index);
    }
  };
  void* self = const_cast<void*>(static_cast<const void*>(&body));  // NOLINT: only read as const
  if (tasks <= 0) return;
  if (tasks == 1) return Call::run(self, 0);
  const FloatEnvironment environment;  // pools do not restore exception flags
  executor_of(context).parallel(tasks, &Call::run, self);
}

}  // namespace octavo
