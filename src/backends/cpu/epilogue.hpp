// SPDX-License-Identifier: Apache-2.0
// The one epilogue of all CPU kernels: from a tile of sums to the output.
#pragma once

#include <array>
#include <cstdint>

#include "backends/backend.hpp"

namespace octavo::cpu {

/// Columns of the output that one tile covers at most.
inline constexpr std::int64_t kTileCols = 64;

/// The per-column terms of columns [n0, n0 + count), loaded once per tile.
struct EpilogueColumns {
  std::int64_t n0 = 0;
  std::int64_t count = 0;
  alignas(64) std::array<std::array<float, kTileCols>, 2> scale_b;
  alignas(64) std::array<float, kTileCols> bias;
  alignas(64) std::array<float, kTileCols> scale_result;
};
void load_columns(const Member& member, std::int64_t n0, std::int64_t count,
                  EpilogueColumns& columns) noexcept;

/// The outlier terms of rows [m0, m0 + rows) as [rows][kTileCols] floats, in ascending k.
void outlier_tile(const Member& member, std::int64_t m0, std::int64_t rows, std::int64_t n0,
                  std::int64_t count, float* tile) noexcept;

/// Finishes row m of a tile: t holds `count` sums, `outliers` that row's outlier terms or null.
/// The steps are those of specification section 3, each rounded, absent ones skipped.
void finish_row(const Member& member, const MatmulOptions& options, std::int64_t m,
                const EpilogueColumns& columns, const float* outliers, float* t) noexcept;

/// Stores exact sums of an int32 output, saturated.
void finish_exact_row(const Member& member, std::int64_t m, std::int64_t n0, std::int64_t count,
                      const std::int64_t* sums) noexcept;

}  // namespace octavo::cpu
