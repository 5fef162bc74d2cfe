// SPDX-License-Identifier: Apache-2.0
// Gathering outliers and their rows of weights, and summing them.
#include "backends/cpu/finish/outliers.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>

#include "backends/cpu/row_kernels.hpp"
#include "backends/cpu/rows.hpp"
#include "backends/cpu/weight_rows.hpp"
#include "core/data/element.hpp"
#include "core/problem/operand.hpp"
#include "core/threads/parallel.hpp"

namespace octavo::cpu {
namespace {

// Of a chunk: 256 KB of weights, in a second-level cache. Places in it have 16 bits.
constexpr std::int64_t kMostOutliers = 1024;
constexpr std::int64_t kLeastOutliers = 16;
constexpr std::int64_t kOutlierRows = 16;
// What gathering an element costs, in elements that are read in a row.
constexpr std::int64_t kGatherCost = 16;

// Rows of a stretch begin in different sets of the first-level cache.
constexpr std::int64_t kRowGap = 16;
// Rows of the weight that are widened together where one of them is wanted: layouts hold four
// neighbours in a word, and what lies along K is read by lines.
constexpr std::int64_t kNeighbours = 4;
constexpr std::int64_t kLineNeighbours = 64;

// With 4 bytes each, values of a quarter of K take as much as the codes do.
std::int64_t longest_chunk(const Member& p) noexcept {
  return std::clamp(p.a.data.shape[1] / 4, kLeastOutliers, kMostOutliers);
}

OperandView original_of(const Member& p) noexcept {
  const Elements& weight = p.epilogue.outliers.weight;
  if (!weight.defined()) return p.b;
  return MatrixView(weight, p.a.data.shape[1], weight_columns(p.b));
}

bool lies_along_k(const OperandView& b) noexcept {
  return b.packed == nullptr && std::abs(b.data.strides[0]) < std::abs(b.data.strides[1]);
}

// The values of all columns of the list in row m.
void gather_row(const Outliers& o, std::int64_t m, float* values) noexcept {
  for (std::int64_t i = 0; i < o.columns.count; ++i) {
    values[i] = load_float(o.a, m, o.columns[i]);
  }
}

// The same for those that the row takes. Returns how many they are.
std::int32_t list_row(const Outliers& o, std::int64_t m, float* values,
                      std::uint16_t* places) noexcept {
  std::int32_t taken = 0;
  std::int64_t next = 0;  // of the columns that every row takes
  for (std::int64_t i = 0; i < o.columns.count; ++i) {
    const std::int64_t k = o.columns[i];
    while (next < o.whole.count && o.whole[next] < k) ++next;
    const bool whole = next < o.whole.count && o.whole[next] == k;
    const float value = load_float(o.a, m, k);
    if (!whole && !(std::abs(value) >= o.threshold)) continue;
    values[taken] = value;
    places[taken++] = static_cast<std::uint16_t>(i);
  }
  return taken;
}

}  // namespace

OutlierTerms gather_outliers(const Member& p, const MatmulOptions& options, Arena& arena,
                             const ExecContext& context) noexcept {
  const Outliers& o = p.epilogue.outliers;
  OutlierTerms terms;
  if (!o.present()) return terms;
  const std::int64_t rows = p.a.data.shape[0];
  const std::int64_t all = o.columns.count;
  const bool listed = o.threshold > 0.0F;
  const std::int64_t longest = longest_chunk(p);
  terms.wanted = true;
  terms.count = all;
  terms.chunks = k_chunks(p, options);
  terms.stretches = all > longest || terms.chunks.several();
  terms.chunk = std::min(all, longest);
  auto* values = arena.take<float>(rows * terms.chunk);
  auto* counts = listed ? arena.take<std::int32_t>(rows) : nullptr;
  auto* places = listed ? arena.take<std::uint16_t>(rows * terms.chunk) : nullptr;
  if (arena.counting() || terms.stretches) return terms;
  for_each_band(context, bands_of(context, rows, rows * all * kGatherCost), rows,
                [&](std::int64_t, std::int64_t begin, std::int64_t end) {
                  for (std::int64_t m = begin; m < end; ++m) {
                    float* row = values + m * all;
                    if (listed) {
                      counts[m] = list_row(o, m, row, places + m * all);
                    } else {
                      gather_row(o, m, row);
                    }
                  }
                });
  terms.values = values;
  terms.counts = counts;
  terms.places = places;
  return terms;
}

OutlierScratch take_outlier_scratch(const Member& p, const OutlierTerms& terms, std::int64_t rows,
                                    Arena& arena) noexcept {
  OutlierScratch w;
  if (!terms.wanted) return w;
  w.weights = arena.take<float>((terms.chunk + 1) * kTileCols);
  w.sums = arena.take<float>(rows * kTileCols);
  if (terms.chunks.several()) w.totals = arena.take<float>(rows * kTileCols);
  if (!terms.stretches) return w;
  w.values = arena.take<float>(kOutlierRows * (terms.chunk + kRowGap));
  w.line = arena.take<float>(std::max(terms.chunk, kTileCols));
  w.picks = arena.take<std::uint16_t>(terms.chunk);
  if (p.epilogue.outliers.threshold == 0.0F) return w;
  w.limits = arena.take<std::uint32_t>(terms.chunk);
  w.counts = arena.take<std::int32_t>(kOutlierRows);
  w.places = arena.take<std::uint16_t>(kOutlierRows * (terms.chunk + kRowGap));
  return w;
}

OutlierSums::OutlierSums(const Member& member, const OutlierTerms& terms,
                         const OutlierScratch& scratch) noexcept
    : member_(member), terms_(terms), w_(scratch), original_(original_of(member)) {}

void OutlierSums::load_gathered() noexcept {
  if (loaded_) return;
  loaded_ = true;
  const Outliers& o = member_.epilogue.outliers;
  const PackedWeightData* packed =
      original_.packed != nullptr ? original_.packed->content() : nullptr;
  float* row = w_.weights;
  for (std::int64_t i = 0; i < terms_.count; ++i, row += kTileCols) {
    const std::int64_t k = o.columns[i];
    std::int64_t done = 0;
    for (; packed != nullptr && done < columns_; done += kPanelCols) {
      packed->layout->widen(*packed, k, k + 1, n0_ + done, row + done);
    }
    if (packed == nullptr) load_weight_row(original_, k, n0_, done = columns_, row);
    std::fill(row + done, row + kTileCols, 0.0F);
  }
}

// The outlier columns in [k0, k1) of K, which are the next ones.
void OutlierSums::pick_columns(std::int64_t k0, std::int64_t k1) noexcept {
  const Outliers& o = member_.epilogue.outliers;
  picked_ = 0;
  for (; next_ < terms_.count; ++next_) {
    const std::int64_t k = o.columns[next_];
    if (k >= k1) return;
    w_.picks[picked_] = static_cast<std::uint16_t>(k - k0);
    if (w_.limits != nullptr) {
      while (whole_ < o.whole.count && o.whole[whole_] < k) ++whole_;
      const bool whole = whole_ < o.whole.count && o.whole[whole_] == k;
      w_.limits[picked_] = whole ? 0 : std::bit_cast<std::uint32_t>(o.threshold);
    }
    ++picked_;
  }
}

// Their rows of the weight, each to its place in the stretch; others beside them come along.
void OutlierSums::load_stretch(std::int64_t k0, std::int64_t k1) noexcept {
  const std::int64_t together = lies_along_k(original_) ? kLineNeighbours : kNeighbours;
  const Kernels& kernels = best_kernels();
  for (std::int64_t i = 0; i < picked_;) {
    const std::int64_t begin = w_.picks[i] / together * together;
    std::int64_t end = begin;
    for (; i < picked_ && w_.picks[i] < end + together; ++i) {
      if (w_.picks[i] >= end) end += together;
    }
    end = std::min(end, k1 - k0);
    float* out = w_.weights + begin * kPanelCols;
    for (std::int64_t j = 0; j < kTileCols; j += kPanelCols, out += weight_step()) {
      if (j < columns_) {
        load_column_panels(kernels, original_, k0 + begin, k0 + end, n0_ + j, 1, out, w_.line);
      } else {
        std::fill(out, out + (end - begin) * kPanelCols, 0.0F);
      }
    }
  }
}

// Row m's part of a stretch as row i of values: the whole of it, or a list of what the row takes.
void OutlierSums::widen_row(std::int64_t m, std::int64_t k0, std::int64_t k1,
                            std::int64_t i) noexcept {
  const Elements& a = member_.epilogue.outliers.a;
  const std::int64_t to = i * (terms_.chunk + kRowGap);
  float* values = w_.values + to;
  float* line = w_.counts != nullptr ? w_.line : values;
  widen(best_kernels(), a.dtype, a.at(m * a.strides[0] + k0 * a.strides[1]), a.strides[1], k1 - k0,
        line);
  if (w_.counts == nullptr) return;
  constexpr std::uint32_t kInfinity = 0x7F800000U;
  std::uint16_t* places = w_.places + to;
  std::int32_t taken = 0;
  for (std::int64_t j = 0; j < picked_; ++j) {  // without branches: any element may be taken
    const float value = line[w_.picks[j]];
    const std::uint32_t limit = w_.limits[j];  // 0: everything, NaN too
    const std::uint32_t above = limit != 0 ? kInfinity - limit : ~0U;
    values[taken] = value;
    places[taken] = w_.picks[j];
    taken += (std::bit_cast<std::uint32_t>(value) & 0x7FFFFFFFU) - limit <= above ? 1 : 0;
  }
  w_.counts[i] = taken;
}

void OutlierSums::set_tiles(std::int64_t n0, std::int64_t columns, std::int64_t m0,
                            std::int64_t rows) noexcept {
  loaded_ = loaded_ && n0 == n0_ && columns == columns_;
  n0_ = n0;
  columns_ = columns;
  m0_ = m0;
  if (!terms_.stretches) return;
  next_ = whole_ = 0;
  if (!terms_.chunks.several()) return add_stretches(terms_.chunks[0], rows);
  std::fill_n(w_.totals, rows * kTileCols, 0.0F);
  for (std::int64_t c = 0; c < terms_.chunks.count && next_ < terms_.count; ++c) {
    if (terms_.chunks[c].size() == 0) continue;
    add_stretches(terms_.chunks[c], rows);
    for (std::int64_t i = 0; i < rows * kTileCols; ++i) w_.totals[i] += w_.sums[i];
  }
}

void OutlierSums::add_stretches(const ShardRange& chunk, std::int64_t rows) noexcept {
  OutlierTile tile{.values = w_.values,
                   .stride = terms_.chunk + kRowGap,
                   .counts = w_.counts,
                   .places = w_.places,
                   .weights = w_.weights,
                   .weight_step = weight_step(),
                   .weight_row = kPanelCols};
  for (std::int64_t k0 = chunk.begin; k0 < chunk.end && next_ < terms_.count; k0 += terms_.chunk) {
    const std::int64_t k1 = std::min(chunk.end, k0 + terms_.chunk);
    pick_columns(k0, k1);
    load_stretch(k0, k1);
    tile.count = picked_;
    tile.picks = picked_ < k1 - k0 ? w_.picks : nullptr;
    tile.first = k0 == chunk.begin;
    for (std::int64_t r = 0; r < rows; r += kOutlierRows) {
      tile.rows = std::min(kOutlierRows, rows - r);
      tile.sums = w_.sums + r * kTileCols;
      for (std::int64_t i = 0; i < tile.rows; ++i) widen_row(m0_ + r + i, k0, k1, i);
      best_kernels().add_outliers(tile);
    }
  }
}

const float* OutlierSums::of(std::int64_t m0, std::int64_t rows) noexcept {
  if (!terms_.wanted) return nullptr;
  if (terms_.stretches) {
    const float* sums = terms_.chunks.several() ? w_.totals : w_.sums;
    return sums + (m0 - m0_) * kTileCols;
  }
  load_gathered();
  const std::int64_t first = m0 * terms_.chunk;
  best_kernels().add_outliers({.rows = rows,
                               .values = terms_.values + first,
                               .stride = terms_.chunk,
                               .count = terms_.count,
                               .counts = terms_.counts != nullptr ? terms_.counts + m0 : nullptr,
                               .places = terms_.places != nullptr ? terms_.places + first : nullptr,
                               .weights = w_.weights,
                               .sums = w_.sums});
  return w_.sums;
}

}  // namespace octavo::cpu
