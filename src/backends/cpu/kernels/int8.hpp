// SPDX-License-Identifier: Apache-2.0
// The contract of the int8 dot-product kernels: tiles of exact int32 sums, and the packing of B.
//
// Both sides of a dot product step four along K. A stays where it lies, rows of bytes; B is packed
// by panels of up to 64 columns, each [K / 4][columns][4], columns in whole vectors of 16.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace octavo::cpu {

/// Columns of one vector of sums, and of a whole panel.
inline constexpr std::int64_t kVectorCols = 16;
inline constexpr std::int64_t kPanelVectors = 4;
/// Elements along K of one step.
inline constexpr std::int64_t kStep = 4;

/// Sums of rows x columns: c[r][j] = the sum over k of u[r][k] * b[k][j], modulo 2^32, where u is
/// the byte of A with the bits of `flip` inverted, unsigned. With 0x80 in `flip` u is a signed byte
/// plus 128, which a shift of 128 takes away again, and a zero point with it.
struct DotTile {
  std::int64_t depth;               ///< bytes of A along K; nothing past them is read
  const std::uint8_t* a;            ///< [rows] of `depth` bytes
  std::int64_t lda;                 ///< bytes from one row to the next
  const std::int8_t* b;             ///< the tile's first vector in the panel, 64-byte aligned
  std::int64_t ldb;                 ///< bytes from one step to the next; a multiple of 64
  std::int32_t* c;                  ///< 64 sums from one row to the next, 64-byte aligned
  const std::int32_t* column_sums;  ///< of B, [vectors * 16]; null: nothing is taken away
  const std::int32_t* shift;        ///< c[r][j] -= shift[r * shift_stride] * column_sums[j]
  std::int64_t shift_stride;        ///< 0: one for all rows; 1
  std::uint8_t flip;                ///< 0x80: A is int8; 0: A is uint8
  bool add;                         ///< to what c holds; else c is overwritten
  /// What is read next: each step prefetches some lines of it. Not null where the kernel does.
  const char* ahead;
};
using DotKernel = void (*)(const DotTile&) noexcept;

/// A piece of B on its way into a panel.
struct PackPiece {
  const std::int8_t* b;  ///< element (0, 0)
  std::int64_t stride_k, stride_n;
  std::int64_t depth;    ///< along K; the last step is padded with zeros
  std::int64_t columns;  ///< 1 to 64; padded with zeros to whole vectors
  std::int8_t* panel;    ///< [steps][vectors * 16][4], 64-byte aligned
  std::int32_t* sums;    ///< [vectors * 16]: the columns' sums over the piece are added
};

/// How many lines of `ahead` a step may prefetch.
inline constexpr std::array<int, 4> kAheadLines{0, 1, 2, 4};

/// The kernels of one instruction set.
struct DotKernels {
  const char* how;  ///< what explain says
  /// The most rows that a tile of v + 1 vectors keeps in registers.
  std::array<std::int64_t, kPanelVectors> max_rows;
  /// Null where no such kernel is built: every tile exists without prefetching; whole panels up to
  /// max_rows[3] with 1 or 4 lines a step, halves with 1 or 2.
  DotKernel (*tile)(std::int64_t rows, std::int64_t vectors, int ahead_lines) noexcept;
  void (*pack)(const PackPiece& piece) noexcept;
};

#if defined(__x86_64__)
extern const DotKernels kAvx512VnniDot;
extern const DotKernels kAvx512BwDot;
#endif

/// The kernels that this CPU can run, best first; empty where it has none.
std::span<const DotKernels* const> usable_dot_kernels() noexcept;

}  // namespace octavo::cpu
