// SPDX-License-Identifier: Apache-2.0
// Neighbouring cells of one cell row: what they reach, their scales, their codes.
#pragma once

#include <array>
#include <cstdint>

#include "backends/backend.hpp"
#include "backends/cpu/kernels/row_contract.hpp"
#include "core/scales/quantize_rules.hpp"

namespace octavo::cpu {

/// Cells that are worked on at a time.
inline constexpr std::int64_t kMostCells = 2048;

/// Cells [j0, j1) of cell row i, at most kMostCells of them, or only rows [r0, r1) of those.
struct CellStretch {
  std::int64_t i, j0, j1;
  std::int64_t r0, r1;
  std::int64_t c0, c1;

  std::int64_t count() const noexcept { return j1 - j0; }
};

/// What the elements of a stretch's cells reach.
struct CellRanges {
  alignas(64) std::array<std::int32_t, kMostCells> most;  ///< largest magnitudes as float32 bits
  alignas(64) std::array<float, kMostCells> low, high;    ///< ranges, for zero points only

  /// Of `count` cells that have no elements yet.
  explicit CellRanges(std::int64_t count) noexcept;
  /// Takes in what other rows of `count` cells reach.
  void join(const CellRanges& other, std::int64_t count) noexcept;
};

/// The scales and zero points of a stretch's cells, as they are stored.
struct CellFactors {
  alignas(64) std::array<float, kMostCells> scale;
  alignas(64) std::array<std::int32_t, kMostCells> azp;
  alignas(64) std::array<float, kMostCells> inverse, inverse_rest;  ///< where `inverted`
  bool near = true;       ///< zero points are below kNearAzp
  bool wide = true;       ///< and below kWideAzp: the kernels take them
  bool tame = false;      ///< as RowCodes has it
  bool inverted = false;  ///< Kernels::invert took them
};

/// The cells of a problem. Rows are read and codes written in whole stretches.
class Cells {
 public:
  explicit Cells(const QuantizeProblem& problem) noexcept;

  std::int64_t down() const noexcept { return q_.scales.shape[0]; }
  std::int64_t across() const noexcept { return q_.scales.shape[1]; }
  /// Rows and columns of a cell that is not cut by the matrix's end.
  std::int64_t height() const noexcept { return height_; }
  std::int64_t width() const noexcept { return width_; }

  CellStretch stretch(std::int64_t i, std::int64_t j0, std::int64_t j1) const noexcept;

  /// Adds what the stretch's rows reach. Elements that are not finite show in `most`.
  void find(const CellStretch& stretch, CellRanges& ranges) const noexcept;

  /// Computes and stores the scales of whole cells.
  void store_scales(const CellStretch& stretch, const CellRanges& ranges,
                    CellFactors& factors) const noexcept;
  /// Reads stored ones.
  void load_scales(const CellStretch& stretch, CellFactors& factors) const noexcept;
  /// Static scales of whole cells beside what their elements reach.
  void show_scales(const CellStretch& stretch, const CellRanges& ranges,
                   CellFactors& factors) const noexcept;

  /// Blocks side by side that Kernels::quantize_cells keeps in a cache between their two readings:
  /// all, or as many as strips of about the same width have, or 0 where strips would not pay.
  std::int64_t blocks_together() const noexcept;
  /// Are cells rows, parts of them, blocks or columns that kernels scale and code in one go?
  bool are_quick() const noexcept;
  /// Scales and codes of the cells of a stretch, and of `rows` such stretches below each other.
  void quantize_quick(const CellStretch& stretch, std::int64_t rows, bool streamed) const noexcept;

  /// Can write_codes find what the next stretch reaches? Of rows that are cells.
  bool finds_ahead() const noexcept;
  /// Writes codes. `next`: a stretch that will be read soon; null: only rows of this one are.
  /// `next_most`: raised to the largest magnitude of its cell, where finds_ahead().
  void write_codes(const CellStretch& stretch, const CellFactors& factors, const CellStretch* next,
                   bool streamed, std::int32_t* next_most = nullptr) const noexcept;

 private:
  template <class Visit>
  void for_each_piece(const CellStretch& stretch, std::int64_t r,
                      const Visit& visit) const noexcept;
  CellStretch cell(const CellStretch& stretch, std::int64_t j) const noexcept;
  /// Columns as Kernels::quantize_cells takes them?
  bool are_columns() const noexcept;
  /// Rows that hardware follows by itself, better than with lines that are asked for?
  bool are_streams(const CellStretch& stretch) const noexcept;
  float finite_absmax(const CellStretch& cell) const noexcept;
  void tame_factors(const CellRanges& ranges, std::int64_t count,
                    CellFactors& factors) const noexcept;
  /// What the codes of cells from the stretch's j-th on have in common, or of that one alone.
  RowCodes codes_of(const CellFactors& factors, std::int64_t j, bool one) const noexcept;
  /// Cells of several rows, wide enough for a kernel call each?
  bool are_tall() const noexcept;
  bool codes_begin_lines(std::int64_t c) const noexcept;
  void write_tall_codes(const CellStretch& stretch, const CellFactors& factors,
                        const CellStretch& next, bool streamed) const noexcept;
  void write_far_codes(const CellStretch& stretch, const CellFactors& factors) const noexcept;

  const QuantizeProblem& q_;
  std::int64_t height_, width_;
  bool flat_;  // neighbours of x and of the codes lie side by side
};

}  // namespace octavo::cpu
