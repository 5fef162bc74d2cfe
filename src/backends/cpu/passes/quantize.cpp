// SPDX-License-Identifier: Apache-2.0
// Section 6 by all threads. Work is cut into stretches of cells that stay in a cache between their
// two readings: one for the range, one for the codes. While a stretch's codes are written, the next
// one is fetched. Where cells are few, the rows of each are shared out.
#include "backends/cpu/passes/passes.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <utility>

#include "backends/cpu/passes/quantize_cells.hpp"
#include "backends/cpu/passes/runs.hpp"
#include "backends/cpu/streams.hpp"
#include "core/threads/parallel.hpp"

namespace octavo::cpu {
namespace {

constexpr std::int64_t kMostBands = 64;  // of one cell
/// Elements of a stretch that is read twice from a second-level cache. Stretches of cells so tall
/// that they would be narrower than kLeastColumns leave the caches in whole rows instead: a narrow
/// one would spend its time opening pages.
constexpr std::int64_t kStretchElements = std::int64_t{1} << 16;
constexpr std::int64_t kLeastColumns = 256;

// The stretches of a problem, numbered along cell rows; quick ones from top to bottom, strip by
// strip.
class Stretches {
 public:
  Stretches(const Cells& cells, std::int64_t workers) noexcept
      : cells_(cells), quick_(cells.are_quick()) {
    const std::int64_t down = std::max<std::int64_t>(cells.down(), 1);
    const std::int64_t across = std::max<std::int64_t>(cells.across(), 1);
    std::int64_t columns = kMostCells * cells.width();
    const std::int64_t fitting = kStretchElements / cells.height();
    stays_ = cells.height() == 1 || fitting >= kLeastColumns;
    if (stays_ && cells.height() > 1 && !quick_) columns = fitting;
    cells_each_ = std::clamp<std::int64_t>(columns / cells.width(), 1, kMostCells);
    // Cells of several rows that are quick are blocks or columns.
    if (quick_ && cells.height() > 1) {
      cells_each_ = cells.width() > 1 ? cells.blocks_together() : across;
    }
    const std::int64_t shares = (workers + down - 1) / down;
    cells_each_ = std::min(cells_each_, (across + shares - 1) / shares);
    // Codes of single columns begin with whole lines.
    if (cells.width() == 1 && cells_each_ > 64) cells_each_ = (cells_each_ + 63) / 64 * 64;
    per_row_ = (cells.across() + cells_each_ - 1) / cells_each_;
  }

  std::int64_t count() const noexcept { return cells_.down() * per_row_; }

  /// Is a stretch in a cache when it is read again?
  bool stay() const noexcept { return stays_; }
  bool are_quick() const noexcept { return quick_; }
  /// Of those from `index` up to `end`, how many are quick ones below each other?
  std::int64_t below(std::int64_t index, std::int64_t end) const noexcept {
    return std::min(end - index, cells_.down() - index % cells_.down());
  }
  /// How many stretches ahead is what should be fetched: the last lines of the next one would come
  /// too late where stretches are short.
  std::int64_t distance() const noexcept { return cells_.height() == 1 ? 2 : 1; }

  CellStretch operator[](std::int64_t index) const noexcept {
    const std::int64_t i = quick_ ? index % cells_.down() : index / per_row_;
    const std::int64_t j = (quick_ ? index / cells_.down() : index % per_row_) * cells_each_;
    return cells_.stretch(i, j, std::min(j + cells_each_, cells_.across()));
  }

 private:
  const Cells& cells_;
  bool quick_, stays_;
  std::int64_t cells_each_, per_row_;
};

struct Call {
  const QuantizeProblem& q;
  const ExecContext& context;
  const Cells& cells;
  bool streamed;

  /// Does what the elements reach matter?
  bool finds() const noexcept { return !q.static_scales || q.shown_scales.defined(); }
  /// Scales of whole cells from what their elements reach.
  void take(const CellStretch& stretch, const CellRanges& ranges,
            CellFactors& factors) const noexcept {
    if (q.static_scales) return cells.show_scales(stretch, ranges, factors);
    cells.store_scales(stretch, ranges, factors);
  }
};

// One stretch by all threads. The largest of the bands' ranges is the cells', in whatever order.
void quantize_together(const Call& call, const CellStretch& whole) noexcept {
  const std::int64_t rows = whole.r1 - whole.r0;
  const std::int64_t bands =
      std::min(bands_of(call.context, rows, rows * (whole.c1 - whole.c0)), kMostBands);
  const auto band_of = [&](std::int64_t begin, std::int64_t end) {
    CellStretch band = whole;
    band.r0 = whole.r0 + begin;
    band.r1 = whole.r0 + end;
    return band;
  };
  CellFactors factors;
  if (!call.finds()) {
    call.cells.load_scales(whole, factors);
  } else {
    CellRanges ranges(whole.count());
    std::mutex joining;
    for_each_band(call.context, bands, rows,
                  [&](std::int64_t, std::int64_t begin, std::int64_t end) {
                    CellRanges own(whole.count());
                    call.cells.find(band_of(begin, end), own);
                    const std::lock_guard lock(joining);
                    ranges.join(own, whole.count());
                  });
    const FloatEnvironment environment;
    call.take(whole, ranges, factors);
  }
  if (!call.q.codes.defined()) return;
  for_each_band(call.context, bands, rows, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
    call.cells.write_codes(band_of(begin, end), factors, nullptr, call.streamed);
    if (call.streamed) end_streams();
  });
}

// `most`: of a stretch of one cell, what its elements are known to reach, and afterwards what those
// of the next one do; null: look at each by itself.
void quantize_alone(const Call& call, const CellStretch& stretch, const CellStretch* next,
                    std::optional<std::int32_t>* most) noexcept {
  CellFactors factors;
  if (!call.finds()) {
    call.cells.load_scales(stretch, factors);
  } else {
    CellRanges ranges(stretch.count());
    if (most != nullptr && most->has_value()) {
      ranges.most[0] = **most;
    } else {
      call.cells.find(stretch, ranges);
    }
    call.take(stretch, ranges, factors);
  }
  if (!call.q.codes.defined()) return;
  std::int32_t* ahead = nullptr;
  if (most != nullptr && next != nullptr) ahead = &most->emplace(0);
  call.cells.write_codes(stretch, factors, next, call.streamed, ahead);
}

// The problem of the transposed matrix.
QuantizeProblem transposed(const QuantizeProblem& q) noexcept {
  QuantizeProblem t = q;
  t.x = q.x.transposed();
  t.codes = q.codes.transposed();
  t.scales = q.scales.transposed();
  t.azp = q.azp.transposed();
  t.shown_scales = q.shown_scales.transposed();
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
  const Stretches stretches(cells, workers);
  // Codes whose errors are wanted are read again soon; their sums are those of one thread.
  const Call call{q, context, cells, elements >= kStreamedBytes && q.errors == nullptr};
  if (stretches.count() < workers && q.errors == nullptr) {
    for (std::int64_t i = 0; i < stretches.count(); ++i) quantize_together(call, stretches[i]);
    return {};
  }
  const std::int64_t bands =
      q.errors == nullptr ? bands_of(context, stretches.count(), elements) : 1;
  if (stretches.are_quick()) {
    for_each_band(context, bands, stretches.count(),
                  [&](std::int64_t, std::int64_t begin, std::int64_t end) {
                    for (std::int64_t i = begin; i < end;) {
                      const std::int64_t rows = stretches.below(i, end);
                      cells.quantize_quick(stretches[i], rows, call.streamed);
                      i += rows;
                    }
                    if (call.streamed) end_streams();
                  });
    return {};
  }
  const bool finds_ahead = call.finds() && cells.finds_ahead();
  const std::int64_t distance = finds_ahead ? 1 : stretches.distance();
  for_each_band(context, bands, stretches.count(),
                [&](std::int64_t, std::int64_t begin, std::int64_t end) {
                  std::optional<std::int32_t> most;
                  for (std::int64_t i = begin; i < end; ++i) {
                    const CellStretch ahead = stretches[std::min(i + distance, end - 1)];
                    const bool fetch = stretches.stay() && i + distance < end;
                    quantize_alone(call, stretches[i], fetch ? &ahead : nullptr,
                                   finds_ahead ? &most : nullptr);
                  }
                  if (call.streamed) end_streams();
                });
  return {};
}

}  // namespace octavo::cpu
