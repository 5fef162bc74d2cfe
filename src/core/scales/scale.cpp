// SPDX-License-Identifier: Apache-2.0
// Granularities as numbers and words.
#include "octavo/scale.hpp"

#include <fmt/core.h>

#include <charconv>

namespace octavo {
ScaleGrid scale_grid(const Granularity& granularity, Side side) noexcept {
  const GranularityInfo& row = info(granularity);
  ScaleGrid grid = side == Side::a ? row.a : row.b;
  if (grid.rows == 0) grid.rows = granularity.rows;
  if (grid.cols == 0) grid.cols = row.sizes == 2 ? granularity.cols : granularity.rows;
  return grid;
}

std::string to_string(const Granularity& granularity) {
  const GranularityInfo& row = info(granularity);
  if (row.sizes == 0) return std::string(row.name);
  if (row.sizes == 1) return fmt::format("{}{}", row.name, granularity.rows);
  return fmt::format("{}{}x{}", row.name, granularity.rows, granularity.cols);
}

Granularity granularity_from_name(std::string_view name) noexcept {
  if (name == "mx") return group(32);
  for (const GranularityInfo& row : kGranularities) {
    if (!name.starts_with(row.name)) continue;
    Granularity found{row.kind, 0, 0};
    const char* at = name.data() + row.name.size();
    const char* const end = name.data() + name.size();
    bool good = true;
    for (int i = 0; i < row.sizes && good; ++i) {
      std::int64_t& size = i == 0 ? found.rows : found.cols;
      if (i == 1) good = at != end && *at++ == 'x';
      const auto [next, error] = std::from_chars(at, end, size);
      good = good && error == std::errc() && size >= 1;
      at = next;
    }
    if (good && at == end) return found;
  }
  return {};
}

}  // namespace octavo
