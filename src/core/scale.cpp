// SPDX-License-Identifier: Apache-2.0
// Granularities as numbers and words.
#include "octavo/scale.hpp"

#include <fmt/format.h>

#include <array>

namespace octavo {
namespace {

struct GranularityRow {
  const char* name;
  ScaleGrid a, b;  // for fixed granularities
};

constexpr std::int64_t kAll = kWholeExtent;

// In the order of Granularity::Kind. group and block carry their own numbers.
constexpr std::array<GranularityRow, 8> kGranularities{{
    {"automatic", {kAll, kAll}, {kAll, kAll}},
    {"tensor", {kAll, kAll}, {kAll, kAll}},
    {"token", {1, kAll}, {1, kAll}},
    {"channel", {kAll, 1}, {kAll, 1}},
    {"group", {1, 0}, {0, 1}},
    {"block", {0, 0}, {0, 0}},
    {"per_k", {kAll, 1}, {1, kAll}},
    {"element", {1, 1}, {1, 1}},
}};

}  // namespace

ScaleGrid scale_grid(const Granularity& granularity, Side side) noexcept {
  const GranularityRow& row = kGranularities[static_cast<std::size_t>(granularity.kind)];
  ScaleGrid grid = side == Side::a ? row.a : row.b;
  const bool block = granularity.kind == Granularity::Kind::block;
  if (grid.rows == 0) grid.rows = granularity.rows;
  if (grid.cols == 0) grid.cols = block ? granularity.cols : granularity.rows;
  return grid;
}

std::string to_string(const Granularity& granularity) {
  const GranularityRow& row = kGranularities[static_cast<std::size_t>(granularity.kind)];
  if (granularity.kind == Granularity::Kind::group) {
    return fmt::format("{}{}", row.name, granularity.rows);
  }
  if (granularity.kind == Granularity::Kind::block) {
    return fmt::format("{}{}x{}", row.name, granularity.rows, granularity.cols);
  }
  return row.name;
}

ScaleView ScaleView::transposed() const noexcept {
  ScaleView t = *this;
  t.data = data.transposed();
  std::swap(t.rows, t.cols);
  std::swap(t.row0, t.col0);
  return t;
}

ScaleView ScaleView::shifted(std::int64_t row, std::int64_t col) const noexcept {
  ScaleView part = *this;
  part.row0 += row;
  part.col0 += col;
  return part;
}

}  // namespace octavo
