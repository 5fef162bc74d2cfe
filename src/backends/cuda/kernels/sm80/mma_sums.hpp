// SPDX-License-Identifier: Apache-2.0
// What a warp of mma.sync's kernel does with its sums while it goes along K: nothing, or, of scales
// that change along K (section 3), by cells of whole steps of 32 elements:
//
//     K       | 32 | 32 | 32 | 32 | 32 | 32 | 32 | ..
//     sa      |        0          |        1
//     sb      |    0    |    1    |    2    |
//     cells   |    0    |    1    |    2    |             each ends where a scale does
//
//     total(i, j) = (..(0 + (part(0) sa(0)) sb(0)) + (part(1) sa(0)) sb(1)) + ..
//
// Each operation is rounded by itself. `part` is what the tensor cores sum in a cell: exact of
// integers. A lane loads scales of the warp's rows lane, lane + 32, .. and of one of its columns
// when a cell begins, and gets those that its sums need from other lanes when it ends.
#pragma once

#include "backends/cuda/kernels/common/k_scale_steps.hpp"
#include "backends/cuda/kernels/common/row_tiles.hpp"
#include "backends/cuda/machine/types.hpp"

namespace octavo::cuda {

/// Of a warp's `down` x `across` blocks of 16 rows by 8 columns.
template <class Part, int down, int across>
struct WholeSums {
  Part parts[down][across][4] = {};

  template <class... Args>
  OCTAVO_DEVICE explicit WholeSums(const Args&...) {}
  template <class Machine>
  OCTAVO_DEVICE void step(Machine&) {}
  OCTAVO_DEVICE auto& totals() { return parts; }
};

template <class Part, int down, int across>
class ScaledCells {
  static_assert(across * 8 <= 32, "a lane has one column's scale");
  static constexpr int kOfRows = (down * 16 + 31) / 32;  // a lane's

 public:
  Part parts[down][across][4] = {};

  /// Of the warp whose first row and column these are; `steps` of 32 elements, at least one.
  template <class Machine, class Params>
  OCTAVO_DEVICE ScaledCells(Machine& m, const Params& p, const Tile& tile, int row, int column,
                            int steps)
      : a_(p.k_scales.a), b_(p.k_scales.b), cell_a_(a_, 0), cell_b_(b_, 0), left_(steps) {
    const int lane = static_cast<int>(m.lane());
    OCTAVO_UNROLL
    for (int i = 0; i < kOfRows; ++i) from_a_[i] = a_.at(row + lane + i * 32, p.m, tile.group, 0);
    from_b_ = b_.at(column + lane % (across * 8), p.n, tile.group, 0);
    load(m);
  }

  /// Behind 32 elements of K: all lanes together.
  template <class Machine>
  OCTAVO_DEVICE void step(Machine& m) {
    const bool ends = cell_a_.ends() || cell_b_.ends();
    const std::int64_t next_a = cell_a_.advance(a_), next_b = cell_b_.advance(b_);
    --left_;
    if (left_ < 0 || !(ends || left_ == 0)) return;
    add(m);
    if (left_ == 0) return;  // there may be no other cell
    OCTAVO_UNROLL
    for (int i = 0; i < kOfRows; ++i) from_a_[i] += next_a;
    from_b_ += next_b;
    load(m);
  }
  OCTAVO_DEVICE auto& totals() { return totals_; }

 private:
  template <class Machine>
  OCTAVO_DEVICE void load(Machine& m) {
    OCTAVO_UNROLL
    for (int i = 0; i < kOfRows; ++i) scales_a_[i] = a_.load(m, from_a_[i]);
    scale_b_ = b_.load(m, from_b_);
  }

  template <class Machine>
  OCTAVO_DEVICE void add(Machine& m) {
    m.work(down * across * 4 * 4);
    const std::uint32_t row = m.lane() / 4, column = m.lane() % 4 * 2;
    float of_columns[across][2];
    OCTAVO_UNROLL
    for (std::uint32_t j = 0; j < across; ++j) {
      of_columns[j][0] = m.shuffle(scale_b_, j * 8 + column);
      of_columns[j][1] = m.shuffle(scale_b_, j * 8 + column + 1);
    }
    OCTAVO_UNROLL
    for (std::uint32_t i = 0; i < down; ++i) {
      const float of_rows[2] = {m.shuffle(scales_a_[i / 2], i % 2 * 16 + row),
                                m.shuffle(scales_a_[i / 2], i % 2 * 16 + 8 + row)};
      OCTAVO_UNROLL
      for (int j = 0; j < across; ++j) {
        OCTAVO_UNROLL
        for (int e = 0; e < 4; ++e) {
          totals_[i][j][e] +=
              scaled_sum(static_cast<float>(parts[i][j][e]), of_rows[e / 2], of_columns[j][e % 2]);
          parts[i][j][e] = 0;
        }
      }
    }
  }

  const KScale &a_, &b_;
  KCell cell_a_, cell_b_;
  int left_;
  const float *from_a_[kOfRows], *from_b_;
  float scales_a_[kOfRows], scale_b_;
  float totals_[down][across][4] = {};
};

}  // namespace octavo::cuda
