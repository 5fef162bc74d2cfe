// SPDX-License-Identifier: Apache-2.0
// LLM.int8's outlier term: columns of A in float times their rows of the weight, tile by tile.
#pragma once

#include <cstdint>

#include "backends/arena.hpp"
#include "backends/backend.hpp"
#include "backends/cpu/kernels/row_contract.hpp"
#include "core/scales/grid.hpp"

namespace octavo::cpu {

/// The outliers of a member. Few columns are gathered once for all rows. Of more, stretches of K
/// are widened as they lie, for a few rows at a time, and columns picked out of them: a workspace
/// is reserved before they are known. So are those whose sums are taken over several chunks of K.
struct OutlierTerms {
  bool wanted = false;
  bool stretches = false;                 ///< else gathered
  KChunks chunks{};                       ///< which no stretch crosses the border of
  std::int64_t count = 0;                 ///< columns
  std::int64_t chunk = 0;                 ///< gathered columns, or the length of a stretch
  const float* values = nullptr;          ///< [m][chunk]: gathered
  const std::int32_t* counts = nullptr;   ///< [m]: row by row only some of them
  const std::uint16_t* places = nullptr;  ///< [m][chunk]: which
};

/// Gathers the outliers of a member whose activations are quantised; over a counting arena it only
/// reserves.
OutlierTerms gather_outliers(const Member& member, const MatmulOptions& options, Arena& arena,
                             const ExecContext& context) noexcept;

/// What a thread computes in.
struct OutlierScratch {
  /// [chunk][kTileCols], of a stretch [kTileCols / kPanelCols][chunk and one more][kPanelCols].
  float* weights = nullptr;
  float* sums = nullptr;    ///< [rows][kTileCols]
  float* totals = nullptr;  ///< the same, of several chunks
  // Of a stretch.
  float* values = nullptr;          ///< [kOutlierRows][chunk], with gaps between rows
  float* line = nullptr;            ///< [chunk]
  std::uint16_t* picks = nullptr;   ///< [chunk]: the outlier columns
  std::uint32_t* limits = nullptr;  ///< [chunk]: where rows have lists, what each column takes
  std::int32_t* counts = nullptr;
  std::uint16_t* places = nullptr;
};
/// For up to `rows` rows at a time.
OutlierScratch take_outlier_scratch(const Member& member, const OutlierTerms& terms,
                                    std::int64_t rows, Arena& arena) noexcept;

/// The sums of one thread's tiles.
class OutlierSums {
 public:
  OutlierSums(const Member& member, const OutlierTerms& terms,
              const OutlierScratch& scratch) noexcept;

  /// The tiles that follow are those of columns [n0, n0 + columns) and rows [m0, m0 + rows): their
  /// weights are read once.
  void set_tiles(std::int64_t n0, std::int64_t columns, std::int64_t m0,
                 std::int64_t rows) noexcept;
  /// Rows [m0, m0 + rows) of them as [rows][kTileCols], valid until the next call; null: no
  /// outliers.
  const float* of(std::int64_t m0, std::int64_t rows) noexcept;

 private:
  void load_gathered() noexcept;
  void add_stretches(const ShardRange& chunk, std::int64_t rows) noexcept;
  void load_stretch(std::int64_t k0, std::int64_t k1) noexcept;
  void pick_columns(std::int64_t k0, std::int64_t k1) noexcept;
  void widen_row(std::int64_t m, std::int64_t k0, std::int64_t k1, std::int64_t i) noexcept;
  std::int64_t weight_step() const noexcept { return (terms_.chunk + 1) * kPanelCols; }

  const Member& member_;
  const OutlierTerms& terms_;
  const OutlierScratch& w_;
  const OperandView original_;  // the weight that outliers meet
  std::int64_t n0_ = 0, columns_ = 0;
  bool loaded_ = false;  // weights of gathered columns
  std::int64_t m0_ = 0;
  std::int64_t next_ = 0, whole_ = 0;  // the first columns, of all and whole ones, not picked yet
  std::int64_t picked_ = 0;
};

}  // namespace octavo::cpu
