// SPDX-License-Identifier: Apache-2.0
// Teams: threads of a CTA that join what each of them has found.
#pragma once

#include "backends/cuda/machine/types.hpp"

namespace octavo::cuda {

/// Bytes of shared memory that a CTA of so many threads joins over: two turns.
constexpr std::uint32_t team_bytes(std::uint32_t threads) { return 2 * threads / 32 * 16; }

/// What all threads of a team found, in each of them, by found.join(other). A team is `size`
/// neighbours, a power of two up to 32, or the whole CTA; all threads of the CTA call together.
/// Found is 4, 8 or 16 bytes: words that shuffles move. `turn` counts the calls.
template <std::uint32_t threads, class Machine, class Found>
OCTAVO_DEVICE void join_team(Machine& m, std::uint32_t size, std::uint32_t& turn, Found& found) {
  const auto across = [&](std::uint32_t width) {
    for (std::uint32_t step = 1; step < width; step *= 2) {
      found.join(found.moved([&](auto word) { return m.shuffle(word, m.lane() ^ step); }));
    }
  };
  across(size < 32 ? size : 32);
  if (size <= 32) return;
  constexpr std::uint32_t kWarps = threads / 32;
  constexpr std::uint32_t kBytes = sizeof(Found);
  const std::uint32_t base = m.shared_base() + turn % 2 * (kWarps * kBytes);
  ++turn;
  if (m.lane() == 0) m.store_shared(base + m.warp() * kBytes, found);
  m.sync_named(1, threads);
  found = m.template load_shared<Found>(base + m.lane() % kWarps * kBytes);
  across(kWarps);
}

}  // namespace octavo::cuda
