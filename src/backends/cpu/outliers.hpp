// SPDX-License-Identifier: Apache-2.0
// LLM.int8's outlier term: columns of A in float times their rows of the weight, tile by tile.
#pragma once

#include <cstdint>

#include "backends/arena.hpp"
#include "backends/backend.hpp"

namespace octavo::cpu {

/// The outliers of a member. Few enough columns are gathered once for all rows; others, which no
/// model has, a chunk and a few rows at a time, since a workspace is reserved before they are
/// known.
struct OutlierTerms {
  bool wanted = false;
  std::int64_t count = 0;                 ///< columns
  std::int64_t chunk = 0;                 ///< of them at a time
  const float* values = nullptr;          ///< [m][chunk]; null: gathered tile by tile
  const std::int32_t* counts = nullptr;   ///< [m]: row by row only some of them
  const std::uint16_t* places = nullptr;  ///< [m][chunk]: which
};

/// Gathers the outliers of a member whose activations are quantised; over a counting arena it only
/// reserves.
OutlierTerms gather_outliers(const Member& member, Arena& arena,
                             const ExecContext& context) noexcept;

/// What a thread computes in.
struct OutlierScratch {
  float* weights = nullptr;  ///< [chunk][kTileCols]
  float* sums = nullptr;     ///< [rows][kTileCols]
  float* values = nullptr;   ///< [kOutlierRows][chunk], and the lists of these rows
  std::int32_t* counts = nullptr;
  std::uint16_t* places = nullptr;
};
/// For tiles of up to `rows` rows.
OutlierScratch take_outlier_scratch(const Member& member, const OutlierTerms& terms,
                                    std::int64_t rows, Arena& arena) noexcept;

/// The sums of one thread's tiles.
class OutlierSums {
 public:
  OutlierSums(const Member& member, const OutlierTerms& terms,
              const OutlierScratch& scratch) noexcept
      : member_(member), terms_(terms), w_(scratch) {}

  /// The tiles that follow are those of columns [n0, n0 + count).
  void set_columns(std::int64_t n0, std::int64_t count) noexcept {
    n0_ = n0;
    columns_ = count;
    loaded_ = -1;
  }
  /// Rows [m0, m0 + rows) as [rows][kTileCols], valid until the next call; null: no outliers.
  const float* of(std::int64_t m0, std::int64_t rows) noexcept;

 private:
  void load_weights(std::int64_t first) noexcept;

  const Member& member_;
  const OutlierTerms& terms_;
  const OutlierScratch& w_;
  std::int64_t n0_ = 0, columns_ = 0;
  std::int64_t loaded_ = -1;  // the first outlier whose row of weights is there
};

}  // namespace octavo::cpu
