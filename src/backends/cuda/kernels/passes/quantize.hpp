// SPDX-License-Identifier: Apache-2.0
// Section 6 with one reading of the matrix: a team of threads takes a cell, keeps its first
// elements in registers while it joins what they reach, then makes their codes.
//
//     a cell of height h and width w: octets of its rows, octet t at row t / ceil(w / 8);
//     thread `rank` of a team has octets rank, rank + team, ...
//
// Octets beyond those kept are read a second time, which the caches have. A team is a few lanes
// (groups of 128: 16), a warp (short rows) or a CTA (long rows, blocks of 128 x 128).
#pragma once

#include "backends/cuda/kernels/passes/pass.hpp"
#include "backends/cuda/kernels/passes/quantize_rules.hpp"
#include "backends/cuda/kernels/passes/teams.hpp"

namespace octavo::cuda {

/// `kept` octets of a thread stay in registers; `rest`: there may be more.
template <std::uint32_t threads, int kept, bool rest>
struct QuantizeCells {
  struct Params {
    CellGrid grid;
    std::uint32_t team = 1;  ///< threads
  };
  static constexpr std::uint32_t kThreads = threads, kSharedBytes = team_bytes(threads);
  static constexpr int kKept = kept;

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const Params& p) {
    const CellGrid& g = p.grid;
    const std::uint32_t teams = kThreads / p.team, rank = m.tid() % p.team;
    const std::int64_t across = g.scales.shape[1], cells = g.scales.shape[0] * across;
    std::uint32_t turn = 0;
    each_piece(m, (cells + teams - 1) / teams, [&](std::int64_t piece) {
      const std::int64_t own = piece * teams + m.tid() / p.team;
      const bool active = own < cells;
      const std::int64_t cell = active ? own : 0;
      const std::int64_t i = quotient_of(cell, across), j = cell - i * across;
      Octets octets(g, i, j);
      if (!active) octets.count = 0;

      Range range;
      float x[kKept > 0 ? kKept : 1][kOctet];
      OCTAVO_UNROLL
      for (int k = 0; k < kKept; ++k) {
        const std::int64_t t = rank + std::int64_t{p.team} * k;
        if (t < octets.count) octets.read(m, g, t, x[k], range);
      }
      const std::int64_t more = rank + std::int64_t{p.team} * kKept;
      for (std::int64_t t = more; rest && t < octets.count; t += p.team) {
        float once[kOctet];
        octets.read(m, g, t, once, range);
      }
      join_team<kThreads>(m, p.team, turn, range);
      if (!active) return;
      const Divisor by = divisor_of(settle(m, g, i, j, range, rank == 0), range.all);
      if (g.codes.dtype == DType::undefined) return;
      OCTAVO_UNROLL
      for (int k = 0; k < kKept; ++k) {
        const std::int64_t t = rank + std::int64_t{p.team} * k;
        if (t < octets.count) octets.write(m, g, t, x[k], by);
      }
      for (std::int64_t t = more; rest && t < octets.count; t += p.team) {
        float again[kOctet];
        Range unused;
        octets.read(m, g, t, again, unused);
        octets.write(m, g, t, again, by);
      }
    });
  }

 private:
  // The octets of a cell.
  struct Octets {
    std::int64_t row, column, width, per_row, count;

    OCTAVO_DEVICE Octets(const CellGrid& g, std::int64_t i, std::int64_t j)
        : row(i * g.height), column(j * g.width) {
      const std::int64_t rows = g.x.shape[0] - row, columns = g.x.shape[1] - column;
      width = columns < g.width ? columns : g.width;
      per_row = octets_of(width);
      count = (rows < g.height ? rows : g.height) * per_row;
    }
    OCTAVO_DEVICE std::int64_t row_of(std::int64_t t) const {
      return t < per_row ? 0 : quotient_of(t, per_row);
    }
    template <class Machine>
    OCTAVO_DEVICE void read(Machine& m, const CellGrid& g, std::int64_t t, float (&x)[kOctet],
                            Range& range) const {
      const std::int64_t r = row_of(t), c = (t - r * per_row) * kOctet;
      load_octet(m, g.x, g.input_words, row + r, column + c, width - c, x);
      range.add(x, width - c, g.rule.azp);
    }
    template <class Machine>
    OCTAVO_DEVICE void write(Machine& m, const CellGrid& g, std::int64_t t,
                             const float (&x)[kOctet], const Divisor& by) const {
      const std::int64_t r = row_of(t), c = (t - r * per_row) * kOctet;
      store_octet(m, g.codes, g.code_words, row + r, column + c, width - c, codes_of(g, x, by));
    }
  };
};
/// A thread has one octet of its cell.
using QuantizeSmallCells = QuantizeCells<256, 1, false>;
/// A thread has a cell: neighbours have neighbouring columns.
using QuantizeNarrowCells = QuantizeCells<256, 0, true>;
using QuantizeLargeCells = QuantizeCells<512, 4, true>;

}  // namespace octavo::cuda
