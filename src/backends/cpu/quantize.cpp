// SPDX-License-Identifier: Apache-2.0
// Section 6 over cells of rows: each row is read for its range and again, from the cache, for its
// codes. Cells are shared out between the threads; where they are few, the rows of each are.
#include "backends/cpu/quantize.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>

#include "backends/cpu/runs.hpp"
#include "core/cells.hpp"
#include "core/element.hpp"
#include "core/quantize_rules.hpp"

namespace octavo::cpu {
namespace {

constexpr std::int64_t kMostBands = 64;     // of one cell
constexpr std::int64_t kNearAzp = 1 << 21;  // zero points that the kernels take

struct Cell {
  std::int64_t i, j, r0, r1, c0, c1;
};

class Cells {
 public:
  explicit Cells(const QuantizeProblem& q) noexcept : q_(q) {}

  std::int64_t count() const noexcept { return q_.scales.shape[0] * q_.scales.shape[1]; }

  Cell cell(std::int64_t index) const noexcept {
    const std::int64_t i = index / q_.scales.shape[1];
    const std::int64_t j = index % q_.scales.shape[1];
    const std::int64_t rows = q_.x.shape[0];
    const std::int64_t cols = q_.x.shape[1];
    return {i,
            j,
            i == 0 ? 0 : cell_end(rows, q_.grid.rows, i - 1),
            cell_end(rows, q_.grid.rows, i),
            j == 0 ? 0 : cell_end(cols, q_.grid.cols, j - 1),
            cell_end(cols, q_.grid.cols, j)};
  }

  // Only zero points need the two ends.
  CellRange range(const Cell& cell) const noexcept {
    CellRange range;
    const Kernels& kernels = best_kernels();
    for (std::int64_t r = cell.r0; r < cell.r1; ++r) {
      for_each_run(q_.x, r, cell.c0, cell.c1,
                   [&](DType from, const void* row, std::int64_t, std::int64_t count) {
                     if (q_.spec.azp) {
                       CellRange part;
                       kernels.range(from, row, count, part.min, part.max);
                       join(part, range);
                     } else {
                       range.absmax =
                           std::max(range.absmax, kernels.absmax(from, row, count, kFiniteOnly));
                     }
                   });
    }
    return range;
  }

  static void join(const CellRange& part, CellRange& whole) noexcept {
    whole.absmax = std::max(whole.absmax, part.absmax);
    whole.min = std::min(whole.min, part.min);
    whole.max = std::max(whole.max, part.max);
  }

  void store_scale(const Cell& cell, const CellRange& range) const noexcept {
    const CellScale s = cell_scale(q_.spec, range);
    store_float(q_.scales.dtype, q_.scales.data,
                cell.i * q_.scales.strides[0] + cell.j * q_.scales.strides[1], s.scale,
                Overflow::saturate);
    if (!q_.azp.defined()) return;
    store_int32(q_.azp.data, cell.i * q_.azp.strides[0] + cell.j * q_.azp.strides[1], s.azp);
  }

  void write_codes(const Cell& cell) const noexcept {
    const float scale = load_float(q_.scales, cell.i, cell.j);
    const std::int64_t azp = q_.azp.defined() ? load_int(q_.azp, cell.i, cell.j) : 0;
    const bool near = std::abs(azp) < kNearAzp;
    for (std::int64_t r = cell.r0; r < cell.r1; ++r) {
      for_each_run(q_.x, r, cell.c0, cell.c1,
                   [&](DType from, const void* row, std::int64_t c, std::int64_t count) {
                     if (!near) return write_far_codes(from, row, r, c, count, scale, azp);
                     quantize_run({.from = from,
                                   .source = row,
                                   .count = count,
                                   .factor = scale,
                                   .to = q_.spec.dtype,
                                   .azp = static_cast<std::int32_t>(azp),
                                   .overflow = q_.spec.overflow},
                                  q_.codes, r, c);
                   });
    }
  }

 private:
  // Zero points that leave the integers of float32.
  void write_far_codes(DType from, const void* row, std::int64_t r, std::int64_t c,
                       std::int64_t count, float scale, std::int64_t azp) const noexcept {
    for (std::int64_t i = 0; i < count; ++i) {
      const float code = shifted_code(q_.spec.dtype, load_float(from, row, i) / scale, azp);
      store_float(q_.codes.dtype, q_.codes.data,
                  r * q_.codes.strides[0] + (c + i) * q_.codes.strides[1], code,
                  Overflow::saturate);
    }
  }

  const QuantizeProblem& q_;
};

// One cell by all threads. The largest of the bands' ranges is the cell's, in whatever order.
void quantize_together(const QuantizeProblem& q, const Cell& cell,
                       const ExecContext& context) noexcept {
  const Cells cells(q);
  const std::int64_t rows = cell.r1 - cell.r0;
  const std::int64_t bands =
      std::min(bands_of(context, rows, rows * (cell.c1 - cell.c0)), kMostBands);
  const auto band_of = [&](std::int64_t begin, std::int64_t end) {
    Cell band = cell;
    band.r0 = cell.r0 + begin;
    band.r1 = cell.r0 + end;
    return band;
  };
  if (!q.static_scales) {
    std::array<CellRange, kMostBands> ranges{};
    for_each_band(context, bands, rows, [&](std::int64_t b, std::int64_t begin, std::int64_t end) {
      ranges[static_cast<std::size_t>(b)] = cells.range(band_of(begin, end));
    });
    CellRange range;
    for (const CellRange& part : ranges) Cells::join(part, range);
    const FloatEnvironment environment;
    cells.store_scale(cell, range);
  }
  if (!q.codes.defined()) return;
  for_each_band(context, bands, rows, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
    cells.write_codes(band_of(begin, end));
  });
}

// The problem of the transposed matrix.
QuantizeProblem transposed(const QuantizeProblem& q) noexcept {
  QuantizeProblem t = q;
  t.x = q.x.transposed();
  t.codes = q.codes.transposed();
  t.scales = q.scales.transposed();
  t.azp = q.azp.transposed();
  std::swap(t.grid.rows, t.grid.cols);
  return t;
}

}  // namespace

Status quantize(const QuantizeProblem& problem, const ExecContext& context) noexcept {
  const bool columns_together =
      std::abs(problem.x.strides[0]) < std::abs(problem.x.strides[1]) && problem.x.shape[0] > 1;
  const QuantizeProblem q = columns_together ? transposed(problem) : problem;
  const Cells cells(q);
  const std::int64_t elements = q.x.shape[0] * q.x.shape[1];
  const std::int64_t workers = std::max(1, executor_of(context).concurrency());
  if (cells.count() < workers) {
    for (std::int64_t i = 0; i < cells.count(); ++i) quantize_together(q, cells.cell(i), context);
    return {};
  }
  const std::int64_t bands = bands_of(context, cells.count(), elements);
  for_each_band(context, bands, cells.count(),
                [&](std::int64_t, std::int64_t begin, std::int64_t end) {
                  for (std::int64_t i = begin; i < end; ++i) {
                    const Cell cell = cells.cell(i);
                    if (!q.static_scales) cells.store_scale(cell, cells.range(cell));
                    if (q.codes.defined()) cells.write_codes(cell);
                  }
                });
  return {};
}

}  // namespace octavo::cpu
