// SPDX-License-Identifier: Apache-2.0
// The one epilogue of all CPU kernels: from a tile of sums to the output.
#pragma once

#include <array>
#include <cstdint>

#include "backends/arena.hpp"
#include "backends/backend.hpp"
#include "backends/cpu/row_kernels.hpp"

namespace octavo::cpu {

/// The factors of the rows of A: element r * stride belongs to row r. Null: none.
struct EpilogueRows {
  std::array<const float*, 2> scale{};
  std::array<std::int64_t, 2> stride{};
};
/// Finds them in place, or widens them into the arena.
EpilogueRows load_rows(const Member& member, Arena& arena) noexcept;

/// Sums of rows [m0, m0 + rows); the fields are FinishTile's.
struct TileSums {
  std::int64_t m0 = 0, rows = 0;
  const float* floats = nullptr;
  const std::int32_t* integers = nullptr;
  const float* outliers = nullptr;  ///< OutlierSums', or null
};

/// Finishes tiles of one member. The steps are those of specification section 3, each rounded,
/// absent ones skipped.
class Finisher {
 public:
  /// `streamed`: the output goes past the caches in place in whole lines.
  Finisher(const Member& member, const MatmulOptions& options, const EpilogueRows& rows,
           bool streamed) noexcept;
  Finisher(const Finisher&) = delete;
  Finisher& operator=(const Finisher&) = delete;
  ~Finisher();

  /// Loads the terms of columns [n0, n0 + count), for the tiles that follow.
  void set_columns(std::int64_t n0, std::int64_t count) noexcept;

  /// Fetches what tiles of those columns read beside their sums.
  void prefetch_terms() const noexcept;
  /// Fetches the lines that a tile of those columns writes: of short products, and of outputs that
  /// no cache holds, each would be waited for otherwise.
  void prefetch_output(std::int64_t m0, std::int64_t rows) const noexcept;

  /// Writes the output elements of a tile of those columns.
  void finish(const TileSums& sums) noexcept;

 private:
  using TileRow = std::array<float, kTileCols>;
  static constexpr std::int64_t kStagedRows = 16;

  void add_step(FinishStep::Kind kind, const float* data, std::int64_t stride) noexcept;
  /// Rows [m, m + rows) of a matrix that is added, times a factor.
  void stage(const Elements& addend, float factor, std::int64_t m, std::int64_t rows,
             std::array<TileRow, kStagedRows>& out) const noexcept;
  bool bias_by_rows() const noexcept { return member_.epilogue.bias.strides[0] != 0; }

  const Kernels& kernels_ = best_kernels();
  const Member& member_;
  const MatmulOptions& options_;
  const EpilogueRows& rows_;
  const bool streams_;
  std::int64_t n0_ = 0, count_ = 0;
  std::array<FinishStep, 10> steps_{};
  std::size_t step_count_ = 0;
  std::array<FinishStep*, 2> row_scale_{};  // their data moves with the rows
  FinishStep* outliers_ = nullptr;          // the same
  float alpha_ = 1.0F;
  // Terms that do not lie as kTileCols floats already; C and outputs that are narrower or strided.
  alignas(64) std::array<TileRow, 4> terms_;
  alignas(64) std::array<TileRow, kStagedRows> c_;
  alignas(64) std::array<TileRow, kStagedRows> bias_;
  alignas(64) std::array<char, kStagedRows * kTileCols * 4> staged_;
};

/// Stores exact sums of an int32 output, saturated.
void finish_exact_row(const Member& member, std::int64_t m, std::int64_t n0, std::int64_t count,
                      const std::int64_t* sums) noexcept;

}  // namespace octavo::cpu
