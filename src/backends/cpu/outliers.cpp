// SPDX-License-Identifier: Apache-2.0
// Gathering outliers and their rows of weights, and summing them.
#include "backends/cpu/outliers.hpp"

#include <algorithm>
#include <cmath>

#include "backends/cpu/kernels.hpp"
#include "backends/cpu/pack.hpp"
#include "core/element.hpp"
#include "core/parallel.hpp"

namespace octavo::cpu {
namespace {

// Of a chunk: 256 KB of weights, in a second-level cache.
constexpr std::int64_t kMostOutliers = 1024;
constexpr std::int64_t kLeastOutliers = 16;
constexpr std::int64_t kOutlierRows = 16;
// What gathering an element costs, in elements that are read in a row.
constexpr std::int64_t kGatherCost = 16;

// With 4 bytes each, values of a quarter of K take as much as the codes do.
std::int64_t chunk_of(const Member& p, std::int64_t count) noexcept {
  const std::int64_t k = p.a.data.shape[1];
  return std::min(count, std::clamp(k / 4, kLeastOutliers, kMostOutliers));
}

std::int64_t column(const TensorView& columns, std::int64_t i) noexcept {
  return load_int(columns.dtype, columns.data, i * columns.strides[0]);
}

// The values of columns [first, first + count) of the list in row m.
void gather_row(const Outliers& o, std::int64_t m, std::int64_t first, std::int64_t count,
                float* values) noexcept {
  for (std::int64_t i = 0; i < count; ++i) {
    values[i] = load_float(o.a, m, column(o.columns, first + i));
  }
}

// The same for those that the row takes. Returns how many they are.
std::int32_t list_row(const Outliers& o, std::int64_t m, std::int64_t first, std::int64_t count,
                      float* values, std::uint16_t* places) noexcept {
  std::int32_t taken = 0;
  std::int64_t next = 0;  // of the columns that every row takes
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t k = column(o.columns, first + i);
    while (next < o.whole.shape[0] && column(o.whole, next) < k) ++next;
    const bool whole = next < o.whole.shape[0] && column(o.whole, next) == k;
    const float value = load_float(o.a, m, k);
    if (!whole && !(std::abs(value) >= o.threshold)) continue;
    values[taken] = value;
    places[taken++] = static_cast<std::uint16_t>(i);
  }
  return taken;
}

}  // namespace

OutlierTerms gather_outliers(const Member& p, Arena& arena, const ExecContext& context) noexcept {
  const Outliers& o = p.epilogue.outliers;
  OutlierTerms terms;
  if (!o.present()) return terms;
  const std::int64_t rows = p.a.data.shape[0];
  const std::int64_t all = o.columns.shape[0];
  const bool listed = o.threshold > 0.0F;
  terms.wanted = true;
  terms.count = all;
  terms.chunk = chunk_of(p, all);
  auto* values = arena.take<float>(rows * terms.chunk);
  auto* counts = listed ? arena.take<std::int32_t>(rows) : nullptr;
  auto* places = listed ? arena.take<std::uint16_t>(rows * terms.chunk) : nullptr;
  if (arena.counting() || all > terms.chunk) return terms;
  for_each_band(context, bands_of(context, rows, rows * all * kGatherCost), rows,
                [&](std::int64_t, std::int64_t begin, std::int64_t end) {
                  for (std::int64_t m = begin; m < end; ++m) {
                    float* row = values + m * all;
                    if (listed) {
                      counts[m] = list_row(o, m, 0, all, row, places + m * all);
                    } else {
                      gather_row(o, m, 0, all, row);
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
  w.weights = arena.take<float>(terms.chunk * kTileCols);
  w.sums = arena.take<float>(rows * kTileCols);
  if (terms.count <= terms.chunk) return w;
  w.values = arena.take<float>(kOutlierRows * terms.chunk);
  if (p.epilogue.outliers.threshold == 0.0F) return w;
  w.counts = arena.take<std::int32_t>(kOutlierRows);
  w.places = arena.take<std::uint16_t>(kOutlierRows * terms.chunk);
  return w;
}

void OutlierSums::load_weights(std::int64_t first) noexcept {
  if (loaded_ == first) return;
  loaded_ = first;
  const Outliers& o = member_.epilogue.outliers;
  const Operand original = o.weight.defined() ? Operand(o.weight) : member_.b;
  const PackedWeightData* packed =
      original.packed != nullptr ? original.packed->content() : nullptr;
  const std::int64_t end = std::min(first + terms_.chunk, terms_.count);
  float* row = w_.weights;
  for (std::int64_t i = first; i < end; ++i, row += kTileCols) {
    const std::int64_t k = column(o.columns, i);
    std::int64_t done = 0;
    for (; packed != nullptr && done < columns_; done += kPanelCols) {
      packed->layout->widen(*packed, k, k + 1, n0_ + done, row + done);
    }
    if (packed == nullptr) load_weight_row(original, k, n0_, done = columns_, row);
    std::fill(row + done, row + kTileCols, 0.0F);
  }
}

const float* OutlierSums::of(std::int64_t m0, std::int64_t rows) noexcept {
  if (!terms_.wanted) return nullptr;
  const std::int64_t chunk = terms_.chunk;
  OutlierTile tile{.rows = rows,
                   .values = nullptr,
                   .stride = chunk,
                   .count = chunk,
                   .counts = nullptr,
                   .places = nullptr,
                   .weights = w_.weights,
                   .first = true,
                   .sums = w_.sums};
  if (terms_.values != nullptr) {
    load_weights(0);
    tile.values = terms_.values + m0 * chunk;
    if (terms_.counts != nullptr) {
      tile.counts = terms_.counts + m0;
      tile.places = terms_.places + m0 * chunk;
    }
    best_kernels().add_outliers(tile);
    return w_.sums;
  }
  const Outliers& o = member_.epilogue.outliers;
  tile.values = w_.values;
  tile.counts = w_.counts;
  tile.places = w_.places;
  for (std::int64_t first = 0; first < terms_.count; first += chunk) {
    load_weights(first);
    tile.first = first == 0;
    tile.count = std::min(chunk, terms_.count - first);
    for (std::int64_t r = 0; r < rows; r += kOutlierRows) {
      tile.rows = std::min(kOutlierRows, rows - r);
      tile.sums = w_.sums + r * kTileCols;
      for (std::int64_t i = 0; i < tile.rows; ++i) {
        const std::int64_t m = m0 + r + i;
        float* values = w_.values + i * chunk;
        if (w_.counts != nullptr) {
          w_.counts[i] = list_row(o, m, first, tile.count, values, w_.places + i * chunk);
        } else {
          gather_row(o, m, first, tile.count, values);
        }
      }
      best_kernels().add_outliers(tile);
    }
  }
  return w_.sums;
}

}  // namespace octavo::cpu
