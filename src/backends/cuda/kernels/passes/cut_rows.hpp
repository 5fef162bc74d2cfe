// SPDX-License-Identifier: Apache-2.0
// Tiles of the rows of groups (row_tiles.hpp) from the groups' ends, and zeros behind the last.
//
// Ends are clamped as member() does it: a group goes from the end of the one before it to its own,
// or is empty where that is not further. Where ends decrease, several groups have a row, and the
// last of them is its owner. Group g owns what lies between two of
//
//     s[g] = min(end[g], end[g + 1], ..., end[G - 1])          the rows [s[g - 1], s[g])
//
//     ends    4  9  6  7  12       a row of group 1, from 6 on, is later one of 3 or 4
//     s       4  6  6  7  12
//
// as a later end that is at most r makes r a row that is reached again.
//
//   the first CTA   a thread a group: s by log2(G) steps of minima, then tiles by as many of sums;
//                   a thread a tile: its group by bisection
//   all             zeros: a row a CTA
#pragma once

#include "backends/cuda/kernels/common/elements.hpp"
#include "backends/cuda/kernels/common/row_tiles.hpp"
#include "backends/cuda/kernels/passes/pass.hpp"

namespace octavo::cuda {

struct CutRowsKernel {
  static constexpr std::int32_t kMostGroups = 1024, kMostGiven = 512;
  static constexpr std::uint32_t kThreads = kMostGroups;
  static constexpr std::uint32_t kEnds = 0, kTiles = kMostGroups * 4;
  static constexpr std::uint32_t kSharedBytes = 2 * kMostGroups * 4;

  struct Params {
    /// Ends on the device; null: `given`, or multiples of `each`.
    const void* ends = nullptr;
    std::int64_t stride = 1;
    DType dtype = DType::int32;
    bool prefix = false;  ///< one more stands before the first
    std::int32_t groups = 0;
    std::int32_t rows = 0;     ///< of the matrix
    std::int32_t columns = 0;  ///< of the output
    std::int32_t each = 0;
    std::int32_t first = 0;  ///< of the first group, where ends are given
    std::int32_t tile_rows = 0;
    std::int32_t* count = nullptr;
    RowTile* tiles = nullptr;  ///< rows / tile_rows + groups of them
    Elements out;
    std::int32_t given[kMostGiven] = {};
  };

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const Params& p) {
    if (m.block() == 0) cut(m, p);
    put_zeros(m, p);
  }

 private:
  using i32 = std::int32_t;

  OCTAVO_DEVICE static i32 clamped(std::int64_t end, i32 rows) {
    return end < 0 ? 0 : end < rows ? static_cast<i32>(end) : rows;
  }
  // End of a group; -1: where the first begins.
  template <class Machine>
  OCTAVO_DEVICE static i32 end_of(Machine& m, const Params& p, i32 group) {
    if (p.ends != nullptr) {
      if (group < 0 && !p.prefix) return 0;
      const std::int64_t at = (group + (p.prefix ? 1 : 0)) * p.stride;
      return clamped(p.dtype == DType::int64
                         ? m.load_global(static_cast<const std::int64_t*>(p.ends) + at)
                         : m.load_global(static_cast<const i32*>(p.ends) + at),
                     p.rows);
    }
    if (p.each > 0) return (group + 1) * p.each;
    return clamped(group < 0 ? p.first : p.given[group], p.rows);
  }
  // Where the last group ends.
  template <class Machine>
  OCTAVO_DEVICE static i32 last_end(Machine& m, const Params& p) {
    const i32 last = end_of(m, p, p.groups - 1), begin = end_of(m, p, p.groups - 2);
    return last > begin ? last : begin;
  }

  template <class Machine>
  OCTAVO_DEVICE static i32 shared(Machine& m, std::uint32_t array, i32 i) {
    return m.template load_shared<i32>(m.shared_base() + array + static_cast<std::uint32_t>(i) * 4);
  }
  // All threads together: value(i) becomes combine(value(i), value(i + s)) for s = step, 2 step and
  // so on, over the groups.
  template <class Machine, class Combine>
  OCTAVO_DEVICE static void scan(Machine& m, std::uint32_t array, i32 groups, i32 step, i32 value,
                                 const Combine& combine) {
    const auto own = static_cast<i32>(m.tid());
    const std::uint32_t at = m.shared_base() + array + m.tid() * 4;
    m.store_shared(at, value);
    for (; step < groups && -step < groups; step *= 2) {
      m.sync_named(1, kThreads);
      const i32 other = own + step;
      if (other >= 0 && other < groups) value = combine(value, shared(m, array, other));
      m.sync_named(1, kThreads);
      m.store_shared(at, value);
    }
    m.sync_named(1, kThreads);
  }

  template <class Machine>
  OCTAVO_DEVICE static void cut(Machine& m, const Params& p) {
    const auto own = static_cast<i32>(m.tid());
    const i32 first = end_of(m, p, -1);
    const i32 end = own >= p.groups       ? p.rows
                    : own == p.groups - 1 ? last_end(m, p)
                                          : end_of(m, p, own);
    scan(m, kEnds, p.groups, 1, end, [](i32 a, i32 b) { return a < b ? a : b; });
    const auto begin_of = [&](i32 g) { return g == 0 ? first : shared(m, kEnds, g - 1); };
    const i32 length = own < p.groups ? shared(m, kEnds, own) - begin_of(own) : 0;
    const i32 tiles = length > 0 ? (length + p.tile_rows - 1) / p.tile_rows : 0;
    scan(m, kTiles, p.groups, -1, tiles, [](i32 a, i32 b) { return a + b; });
    const i32 count = shared(m, kTiles, p.groups - 1);
    if (own == 0) m.store_global(p.count, count);
    for (i32 tile = own; tile < count; tile += static_cast<i32>(kThreads)) {
      i32 low = 0, high = p.groups - 1;  // the first group with more tiles up to its last
      while (low < high) {
        const i32 middle = (low + high) / 2;
        if (shared(m, kTiles, middle) > tile) {
          high = middle;
        } else {
          low = middle + 1;
        }
      }
      const i32 before = low == 0 ? 0 : shared(m, kTiles, low - 1);
      m.store_global(p.tiles + tile, RowTile{begin_of(low) + (tile - before) * p.tile_rows,
                                             shared(m, kEnds, low), low, 0});
    }
  }

  template <class Machine>
  OCTAVO_DEVICE static void put_zeros(Machine& m, const Params& p) {
    for (std::int64_t i = last_end(m, p) + std::int64_t{m.block()}; i < p.rows; i += m.blocks())
      for (std::int64_t j = m.tid(); j < p.columns; j += kThreads)
        write_float(m, p.out, i, j, 0.0F);
  }
};

}  // namespace octavo::cuda
