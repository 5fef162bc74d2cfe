// SPDX-License-Identifier: Apache-2.0
// How an extent is cut into parts: for the ranks of a group of processes, and for the chunks in
// which partial sums over K are taken (MatmulOptions::k_chunks).
#pragma once

#include <algorithm>
#include <cstdint>

namespace octavo {

/// A part of an extent.
struct ShardRange {
  std::int64_t begin = 0, end = 0;

  constexpr std::int64_t size() const noexcept { return end - begin; }
  friend bool operator==(const ShardRange&, const ShardRange&) = default;
};

/// Part `part` of `parts` of an extent, in whole units, of which parts have as many to within one:
/// units of 128 elements, or the largest power of two of which there are 24, and no fewer than one
/// cell of a scale grid, `cell` elements, in whole cells. Parts may be empty.
///
/// Borders do not depend on how many parts there are: where `parts` divides n, each border is one
/// of n parts, too. Source: specification section 11. Needs extent >= 0, 0 <= part < parts,
/// parts <= 2^20, cell >= 1.
constexpr ShardRange shard_range(std::int64_t extent, std::int64_t part, std::int64_t parts,
                                 std::int64_t cell = 1) noexcept {
  std::int64_t unit = 128;
  while (unit > 1 && extent / unit < 24) unit /= 2;
  if (cell >= extent) return part == 0 ? ShardRange{0, extent} : ShardRange{extent, extent};
  unit = (unit + cell - 1) / cell * cell;
  const std::int64_t units = extent / unit + (extent % unit != 0 ? 1 : 0);
  // units / parts * p + units % parts * p / parts is units * p / parts within 63 bits.
  const auto border = [&](std::int64_t p) {
    const std::int64_t whole = units / parts * p + units % parts * p / parts;
    return whole > extent / unit ? extent : whole * unit;
  };
  return {border(part), border(part + 1)};
}

}  // namespace octavo
