// SPDX-License-Identifier: Apache-2.0
// Parallel loops over an Executor.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/fp_env.hpp"
#include "core/threads/executors.hpp"

namespace octavo {

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

/// How many bands a loop over `items` that touch `elements` in all is worth.
inline std::int64_t bands_of(const ExecContext& context, std::int64_t items,
                             std::int64_t elements) noexcept {
  constexpr std::int64_t kSerialElements = 1 << 15;  // a few microseconds
  if (elements < kSerialElements) return 1;
  return std::clamp<std::int64_t>(executor_of(context).concurrency(), 1,
                                  std::max<std::int64_t>(items, 1));
}

/// Calls body(band, begin, end) for the bands of [0, items), in parallel.
template <class Body>
void for_each_band(const ExecContext& context, std::int64_t bands, std::int64_t items,
                   const Body& body) noexcept {
  parallel_for(context, bands, [&](std::int64_t band) {
    body(band, items * band / bands, items * (band + 1) / bands);
  });
}

}  // namespace octavo
