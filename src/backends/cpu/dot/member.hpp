// SPDX-License-Identifier: Apache-2.0
// What the loops around the dot products read of one member.
#pragma once

#include <cstdint>

#include "backends/arena.hpp"
#include "backends/backend.hpp"
#include "backends/cpu/dot/path.hpp"
#include "backends/cpu/finish/epilogue.hpp"
#include "backends/cpu/finish/outliers.hpp"

namespace octavo::cpu {

/// Stretches of K over which no scale changes and no chunk of sums ends (k_chunks). There are none
/// where neither is the case.
struct Segments {
  std::int64_t most = 0;   ///< how many there are at most, which workspaces have room for
  std::int64_t count = 0;  ///< how many there are; known once their ends are
  const std::int64_t* ends = nullptr;       ///< [count], ascending; the last one is K
  const float* scale_a = nullptr;           ///< [count][m], or one 1 for all
  std::int64_t stride = 0, row_stride = 0;  ///< of scale_a, from segment to segment, row to row
  bool in_chunks = false;                   ///< a chunk of sums has several of them
  const bool* ends_chunk = nullptr;         ///< [count], if so: with which of them one ends

  bool present() const noexcept { return most > 0; }
};

/// Bytes of a copied row beside its own, at most: up to whole lines, an odd number of them, and of
/// some numbers a few more.
inline constexpr std::int64_t kMoreLines = 10;
inline constexpr std::int64_t kRowPadding = 63 + (1 + kMoreLines) * 64;

struct DotMember {
  const Member* p = nullptr;
  DotPath path{};
  std::int64_t m = 0, n = 0, k = 0;
  std::int64_t steps = 0;       ///< along K
  std::int64_t chunk = 0;       ///< steps at a time
  std::int64_t block_rows = 0;  ///< rows whose sums wait for the next chunk, at most
  std::int64_t part_rows = 0;   ///< of those, rows that meet a whole strip before the next ones
  bool single_chunk = false;
  UnpackedKernel unpacked = nullptr;  ///< reads B where it lies; null: it is packed, here or before
  std::int64_t strip = 1;             ///< panels that it reads, or that are packed, side by side
  bool shares_rows = false;           ///< or that meet a chunk of A's rows before the next chunk

  EpilogueRows row_scales{};
  OutlierTerms outliers{};
  Segments segments{};
  const void* rows = nullptr;  ///< of `path.rows`, contiguous along K; row 0
  std::int64_t row_bytes = 0;  ///< from one to the next
  bool converted = false;      ///< `rows` has to be made, region by region
  /// They are transposed (TransposedUnpacked); else null.
  const TransposedUnpacked* transposed = nullptr;
  std::int64_t step_bytes = 0;  ///< if so, from one step of them to the next

  // Integers.
  std::uint8_t flip = 0;
  const std::int32_t* shift = nullptr;  ///< [m] or one: what a row's bytes stand too high
  std::int64_t shift_stride = 0;
  const std::int32_t* azp = nullptr;  ///< [m], where 32 bits have no room for one of them
  bool near_azp = true;               ///< what they take away is exact in a double

  bool empty() const noexcept { return m == 0 || n == 0; }
};

/// What reads a member's weight in place, if there is such a thing.
UnpackedKernel unpacked_kernel(const Member& member, const MatmulOptions& options,
                               const DotPath& path) noexcept;

/// What does so with rows transposed, where unpacked_kernel() is null; null: it is packed.
const TransposedUnpacked* transposed_unpacked(const Member& member, const MatmulOptions& options,
                                              const DotPath& path) noexcept;

/// Describes the member `*d.p`, which has rows and columns and whose activations are quantised, on
/// its path, and loads what belongs to its rows into the arena; over a counting arena it only
/// reserves.
void describe(const MatmulOptions& options, const ExecContext& context, Arena& arena,
              DotMember& d) noexcept;

/// A chunk, or strip, of a member as long as one of as many rows and any K can be.
void lengthen(DotMember& member) noexcept;
/// The same of one of some of its rows that panels share; false: they share none.
bool lengthen_shared(DotMember& member) noexcept;

/// Rows of sums that a kernel of transposed rows writes.
constexpr std::int64_t transposed_rows(std::int64_t rows) noexcept {
  return (rows + kTransposedRows - 1) / kTransposedRows * kTransposedRows;
}
/// Bytes of rows [begin, end) as the kernels read them, 0 where A has them already.
std::int64_t converted_bytes(const DotMember& member, std::int64_t rows) noexcept;
/// Converts rows [begin, end) to where `rows` says; of transposed rows, those that lie in
/// one block with a first one of these.
void convert_rows(const DotMember& member, std::int64_t begin, std::int64_t end) noexcept;

/// scale_b of every segment for 64 columns from `column` on, [count][64]; all 1 where it is
/// constant along K. Returns the column of scales that all of them share, or -1: with the same one
/// as `loaded`, which is what `out` holds, there is nothing to do.
std::int64_t load_segment_scales(const DotMember& member, std::int64_t column, std::int64_t loaded,
                                 float* out) noexcept;

}  // namespace octavo::cpu
