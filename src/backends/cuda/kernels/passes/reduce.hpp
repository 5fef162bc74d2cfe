// SPDX-License-Identifier: Apache-2.0
// Sums of products over the cells of a scale grid (ReduceProblem), in float64:
//
//     sums(i, j) += (factors[0][i, j] - azp[i]) * factors[1][i, j] * factors[2][i, j] * weight(i,
//     j)
//
// ReduceKernel makes partial sums in memory of their own, SumPartialsKernel adds those of each cell
// in order. How a matrix is cut follows from its shape and grid alone, and so does every sum.
//
//   cells of 32 columns and more     a CTA a piece of a cell: its threads take elements in turn,
//                                    their sums are added as a tree; partials[cell][piece]
//   narrower ones                    a CTA a strip of rows by 256 columns: a thread a column;
//                                    partials[strip][column]
#pragma once

#include <array>
#include <bit>

#include "backends/cuda/kernels/common/elements.hpp"
#include "backends/cuda/kernels/passes/pass.hpp"

namespace octavo::cuda {

/// A dimension, cut into cells, and each of those into spans.
struct Spans {
  std::int64_t extent = 0, origin = 0, cell = 1;
  std::int64_t length = 1;  ///< of a span
  std::int64_t per = 1;     ///< spans of a cell
  std::int64_t first = 0;   ///< the cell of element 0
  std::int64_t cells = 1;   ///< from that one on

  struct Range {
    std::int64_t begin, end;
  };
  /// Elements of a span, counted from the first cell's first on; none where a cell is cut off.
  OCTAVO_HOST_DEVICE Range span(std::int64_t index) const {
    const std::int64_t at = (first + index / per) * cell - origin;
    const std::int64_t begin = at + index % per * length;
    return inside(begin, begin + length < at + cell ? begin + length : at + cell);
  }
  /// Elements of the cell that is so many after the first.
  OCTAVO_HOST_DEVICE Range of_cell(std::int64_t index) const {
    const std::int64_t at = (first + index) * cell - origin;
    return inside(at, at + cell);
  }

 private:
  OCTAVO_HOST_DEVICE Range inside(std::int64_t begin, std::int64_t end) const {
    return {begin > 0 ? begin : 0, end < extent ? end : extent};
  }
};

struct ReduceParams {
  std::array<MatrixView, 3> factors;
  Elements azp;  ///< integers; read at (i, j)
  ScaleView weight;
  Elements sums;  ///< float64, cell by cell
  Spans rows, columns;
  bool narrow = false;
  double* partials = nullptr;
};

/// The sum of a warp's values, in every lane.
template <class Machine>
OCTAVO_DEVICE double sum_of_warp(Machine& m, double value) {
  for (std::uint32_t distance = 16; distance > 0; distance /= 2) {
    const auto bits = std::bit_cast<std::uint64_t>(value);
    const std::uint32_t from = m.lane() ^ distance;
    const std::uint32_t low = m.shuffle(static_cast<std::uint32_t>(bits), from);
    const std::uint32_t high = m.shuffle(static_cast<std::uint32_t>(bits >> 32), from);
    value += std::bit_cast<double>(std::uint64_t{high} << 32 | low);
  }
  return value;
}

struct ReduceKernel {
  using Params = ReduceParams;
  static constexpr std::uint32_t kThreads = 256;
  static constexpr std::uint32_t kSharedBytes = kThreads / 32 * 8;

  static std::int64_t pieces(const Params& p) noexcept {
    const std::int64_t down = p.rows.cells * p.rows.per;
    return p.narrow ? down * ((p.columns.extent + kThreads - 1) / kThreads)
                    : down * p.columns.cells * p.columns.per;
  }

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const Params& p) {
    p.narrow ? columns(m, p) : cells(m, p);
  }

 private:
  template <class Machine>
  OCTAVO_DEVICE static void columns(Machine& m, const Params& p) {
    const std::int64_t width = p.columns.extent;
    const std::int64_t across = (width + kThreads - 1) / kThreads;
    each_piece(m, p.rows.cells * p.rows.per * across, [&](std::int64_t piece) {
      const std::int64_t strip = piece / across;
      const std::int64_t j = piece % across * kThreads + m.tid();
      if (j >= width) return;
      const Spans::Range rows = p.rows.span(strip);
      double sum = 0.0;
      for (std::int64_t i = rows.begin; i < rows.end; ++i) sum += product(m, p, i, j);
      m.store_global(p.partials + strip * width + j, sum);
    });
  }

  template <class Machine>
  OCTAVO_DEVICE static void cells(Machine& m, const Params& p) {
    const std::int64_t parts = p.rows.per * p.columns.per;
    each_piece(m, p.rows.cells * p.columns.cells * parts, [&](std::int64_t piece) {
      const std::int64_t cell = piece / parts, part = piece % parts;
      const Spans::Range rows =
          p.rows.span(cell / p.columns.cells * p.rows.per + part / p.columns.per);
      const Spans::Range columns =
          p.columns.span(cell % p.columns.cells * p.columns.per + part % p.columns.per);
      const std::int64_t height = rows.end - rows.begin, width = columns.end - columns.begin;
      double sum = 0.0;
      if (height > 0 && width > 0) {
        const auto count = static_cast<std::uint32_t>(height * width);
        for (std::uint32_t e = m.tid(); e < count; e += kThreads) {
          const std::uint32_t i = e / static_cast<std::uint32_t>(width);
          const std::uint32_t j = e - i * static_cast<std::uint32_t>(width);
          sum += product(m, p, rows.begin + i, columns.begin + j);
        }
      }
      const double total = sum_of_block(m, sum);
      if (m.tid() == 0) m.store_global(p.partials + piece, total);
    });
  }

  // In thread 0.
  template <class Machine>
  OCTAVO_DEVICE static double sum_of_block(Machine& m, double value) {
    const std::uint32_t shared = m.shared_base();
    double sum = sum_of_warp(m, value);
    m.sync_named(1, kThreads);  // the sums of the piece before have been read
    if (m.lane() == 0) m.store_shared(shared + m.warp() * 8, sum);
    m.sync_named(1, kThreads);
    if (m.tid() != 0) return 0.0;
    for (std::uint32_t warp = 1; warp < kThreads / 32; ++warp)
      sum += m.template load_shared<double>(shared + warp * 8);
    return sum;
  }

  template <class Machine>
  OCTAVO_DEVICE static double product(Machine& m, const Params& p, std::int64_t i, std::int64_t j) {
    auto x = static_cast<double>(read_float(m, p.factors[0], i, j));
    if (p.azp.dtype != DType::undefined)
      x -= static_cast<double>(
          read_int(m, p.azp.dtype, p.azp.data, i * p.azp.strides[0] + j * p.azp.strides[1]));
    if (p.factors[1].dtype != DType::undefined)
      x *= static_cast<double>(read_float(m, p.factors[1], i, j));
    if (p.factors[2].dtype != DType::undefined)
      x *= static_cast<double>(read_float(m, p.factors[2], i, j));
    if (p.weight.kind != ScaleKind::none) x *= static_cast<double>(read_scale(m, p.weight, i, j));
    return x;
  }
};

/// Of cells whose partial sums are neighbours a warp each; else a thread each.
struct SumPartialsKernel {
  using Params = ReduceParams;
  static constexpr std::uint32_t kThreads = 256, kSharedBytes = 0;
  static constexpr std::int64_t kWarps = kThreads / 32;

  static std::int64_t pieces(const Params& p) noexcept {
    const std::int64_t cells = p.rows.cells * p.columns.cells;
    const std::int64_t together = p.narrow ? std::int64_t{kThreads} : kWarps;
    return (cells + together - 1) / together;
  }

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const Params& p) {
    const std::int64_t cells = p.rows.cells * p.columns.cells;
    if (p.narrow) {
      each_element(m, kThreads, cells, [&](std::int64_t cell) {
        const std::int64_t down = cell / p.columns.cells, across = cell % p.columns.cells;
        const Spans::Range columns = p.columns.of_cell(across);
        double sum = 0.0;
        for (std::int64_t strip = down * p.rows.per; strip < (down + 1) * p.rows.per; ++strip)
          for (std::int64_t j = columns.begin; j < columns.end; ++j)
            sum += m.load_global(partial(p, strip * p.columns.extent + j));
        add(m, p, cell, sum);
      });
      return;
    }
    const std::int64_t parts = p.rows.per * p.columns.per;
    each_piece(m, (cells + kWarps - 1) / kWarps, [&](std::int64_t piece) {
      const std::int64_t cell = piece * kWarps + m.warp();
      if (cell >= cells) return;
      double sum = 0.0;
      for (std::int64_t part = m.lane(); part < parts; part += 32)
        sum += m.load_global(partial(p, cell * parts + part));
      sum = sum_of_warp(m, sum);
      if (m.lane() == 0) add(m, p, cell, sum);
    });
  }

 private:
  OCTAVO_DEVICE static const double* partial(const Params& p, std::int64_t index) {
    return p.partials + index;
  }

  template <class Machine>
  OCTAVO_DEVICE static void add(Machine& m, const Params& p, std::int64_t cell, double sum) {
    const std::int64_t i = p.rows.first + cell / p.columns.cells;
    const std::int64_t j = p.columns.first + cell % p.columns.cells;
    auto* to = static_cast<double*>(p.sums.data) + i * p.sums.strides[0] + j * p.sums.strides[1];
    m.store_global(to, m.load_global(static_cast<const double*>(to)) + sum);
  }
};

}  // namespace octavo::cuda
