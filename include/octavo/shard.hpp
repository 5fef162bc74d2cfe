// SPDX-License-Identifier: Apache-2.0
// How an extent is cut into parts: for the ranks of a group of processes, and for the chunks in
// which partial sums over K are taken (MatmulOptions::k_chunks).
#pragma once

#include <algorithm>
#include <cstdint>

namespace octavo {

/// A part of an extent.
struct ShardRange {
  std::int64_t begin = 0, end = 0;  ///< elements begin to end - 1

  /// How many elements it has.
  constexpr std::int64_t size() const noexcept { return end - begin; }
  friend bool operator==(const ShardRange&, const ShardRange&) = default;
};

/// A border of a part lies at a multiple of so many elements, or at the extent's end.
inline constexpr std::int64_t kLeastShardUnit = 4;

/// What an extent is cut in multiples of: 128, or the largest power of two from kLeastShardUnit on
/// of which there are 24, and whole cells of a scale grid of `cell` elements; all of the extent
/// where a cell spans it. Needs extent >= 0, cell >= 1.
constexpr std::int64_t shard_unit(std::int64_t extent, std::int64_t cell = 1) noexcept {
  if (cell >= extent) return std::max<std::int64_t>(extent, 1);
  for (; cell % kLeastShardUnit != 0; cell *= 2) {
    if (cell > extent / 2) return extent;
  }
  std::int64_t unit = 128;
  while (unit > kLeastShardUnit && extent / unit < 24) unit /= 2;
  return (unit + cell - 1) / cell * cell;
}

/// Part `part` of `parts` of an extent, in units of shard_unit, of which parts have as many to
/// within one. Parts may be empty.
///
/// Borders do not depend on how many parts there are: where `parts` divides n, each border is one
/// of n parts, too. Source: specification section 11. Needs 0 <= part < parts <= 2^20 as well.
constexpr ShardRange shard_range(std::int64_t extent, std::int64_t part, std::int64_t parts,
                                 std::int64_t cell = 1) noexcept {
  const std::int64_t unit = shard_unit(extent, cell);
  const std::int64_t units = extent / unit + (extent % unit != 0 ? 1 : 0);
  const auto border = [&](std::int64_t p) {  // units * p / parts, within 63 bits
    const std::int64_t whole = units / parts * p + units % parts * p / parts;
    return whole > extent / unit ? extent : whole * unit;
  };
  return {border(part), border(part + 1)};
}

}  // namespace octavo
