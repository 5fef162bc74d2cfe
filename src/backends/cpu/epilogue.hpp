// SPDX-License-Identifier: Apache-2.0
// The one epilogue of all CPU kernels: from a tile of sums to the output.
#pragma once

#include <array>
#include <cstdint>

#include "backends/arena.hpp"
#include "backends/backend.hpp"
#include "backends/cpu/kernels.hpp"

namespace octavo::cpu {

/// The factors of the rows of A: element r * stride belongs to row r. Null: none.
struct EpilogueRows {
  std::array<const float*, 2> scale{};
  std::array<std::int64_t, 2> stride{};
};
/// Finds them where they lie, or widens them into the arena.
EpilogueRows load_rows(const Member& member, Arena& arena) noexcept;

/// The terms of columns [n0, n0 + count), loaded once per tile. Null: none.
struct EpilogueColumns {
  std::int64_t n0 = 0;
  std::int64_t count = 0;
  std::array<const float*, 2> scale_b{};
  const float* bias = nullptr;
  const float* scale_result = nullptr;
  float alpha = 1.0F;
  /// Where terms go that do not lie as kTileCols floats already.
  alignas(64) std::array<std::array<float, kTileCols>, 4> store;
};
void load_columns(const Member& member, std::int64_t n0, std::int64_t count,
                  EpilogueColumns& columns) noexcept;

/// The outlier terms of rows [m0, m0 + rows) as [rows][kTileCols] floats, in ascending k.
void outlier_tile(const Member& member, std::int64_t m0, std::int64_t rows, std::int64_t n0,
                  std::int64_t count, float* tile) noexcept;

/// Sums of rows [m0, m0 + rows); the fields are FinishTile's.
struct TileSums {
  std::int64_t m0 = 0, rows = 0;
  const float* floats = nullptr;
  const std::int32_t* integers = nullptr;
  const std::int32_t* shift = nullptr;  ///< of the first of these rows
  const std::int32_t* column_sums = nullptr;
  const float* outliers = nullptr;  ///< outlier_tile's, or null
};

/// Writes the output elements of a tile. The steps are those of specification section 3, each
/// rounded, absent ones skipped.
void finish_tile(const Member& member, const MatmulOptions& options, const EpilogueRows& rows,
                 const EpilogueColumns& columns, const TileSums& sums) noexcept;

/// Stores exact sums of an int32 output, saturated.
void finish_exact_row(const Member& member, std::int64_t m, std::int64_t n0, std::int64_t count,
                      const std::int64_t* sums) noexcept;

}  // namespace octavo::cpu
