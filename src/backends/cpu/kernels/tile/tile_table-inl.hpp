// SPDX-License-Identifier: Apache-2.0
// The tiles of a kernel file, by rows, vectors and prefetched lines.
//
//   kGrain       vectors of which a panel holds a multiple
//   kHalfLines   lines of B in a step of a half panel; a whole one has twice as many
//
// Needs: dot_tile, kGrain, kHalfLines, kMaxRows, kWidth
// Gives: find_dot_tile

// Tiles of `least` to `most` rows, the first one first.
template <int vectors, int lines, int least, std::size_t... row>
constexpr std::array<octavo::cpu::DotKernel, sizeof...(row)> dot_tiles(
    std::index_sequence<row...>) {
  return {&dot_tile<static_cast<int>(row) + least, vectors, lines>...};
}
template <int vectors, int lines, int least = 1>
octavo::cpu::DotKernel find_tile(std::int64_t rows) noexcept {
  constexpr std::int64_t kMost = kMaxRows[vectors - 1];
  static constexpr auto kTiles = dot_tiles<vectors, lines, least>(
      std::make_index_sequence<static_cast<std::size_t>(kMost - least + 1)>());
  return rows < least ? nullptr : kTiles[static_cast<std::size_t>(rows - least)];
}
// Those that fetch a part of what is next, which is shared out among several.
template <int vectors, int lines>
octavo::cpu::DotKernel find_high_tile(std::int64_t rows) noexcept {
  return find_tile<vectors, lines, octavo::cpu::least_sharing(kMaxRows[vectors - 1])>(rows);
}

octavo::cpu::DotKernel find_dot_tile(std::int64_t rows, std::int64_t vectors,
                                     int ahead_lines) noexcept {
  if (rows < 1 || rows > kMaxRows[static_cast<std::size_t>(vectors - 1)]) return nullptr;
  if (ahead_lines == 0) {
    if constexpr (kGrain == 1) {
      if (vectors == 1) return find_tile<1, 0>(rows);
      if (vectors == 3) return find_tile<3, 0>(rows);
    }
    return vectors == 2 ? find_tile<2, 0>(rows) : find_tile<4, 0>(rows);
  }
  if constexpr (kWidth == 1) {
    if (vectors == 1 && ahead_lines == 1) return find_high_tile<1, 1>(rows);
  }
  if (vectors == 2 && (ahead_lines == 1 || ahead_lines == kHalfLines)) {
    return find_high_tile<2, kHalfLines>(rows);
  }
  if (vectors == 4) {
    if (ahead_lines == 1) return find_high_tile<4, 1>(rows);
    if constexpr (2 * kHalfLines <= octavo::cpu::kAheadLines.back()) {
      if (ahead_lines == 2 * kHalfLines) return find_tile<4, 2 * kHalfLines>(rows);
    }
  }
  return nullptr;
}
