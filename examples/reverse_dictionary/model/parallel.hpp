// SPDX-License-Identifier: Apache-2.0
// Loops split over the threads that Octavo's own calls use, so that one pool serves both.
#pragma once

#include <algorithm>
#include <cstdint>

#include "octavo/context.hpp"

namespace reverse_dictionary {

/// Calls body(begin, end) for static shares of [0, count), none smaller than `least` items.
/// `body` must not throw and must not write what another share reads.
template <class Body>
void parallel_for(std::int64_t count, std::int64_t least, const Body& body) {
  if (count <= 0) return;
  octavo::Executor& executor = octavo::default_executor();
  struct Shares {
    const Body& body;
    std::int64_t count, tasks;
  };
  const std::int64_t useful = (count + least - 1) / least;
  Shares shares{body, count, std::min<std::int64_t>(executor.concurrency(), useful)};
  if (shares.tasks <= 1) {
    body(std::int64_t{0}, count);
    return;
  }
  executor.parallel(
      shares.tasks,
      [](void* context, std::int64_t index) noexcept {
        const auto& all = *static_cast<const Shares*>(context);
        all.body(all.count * index / all.tasks, all.count * (index + 1) / all.tasks);
      },
      &shares);
}

}  // namespace reverse_dictionary
