// SPDX-License-Identifier: Apache-2.0
// The contract between the CPU code and its kernels: one table of functions per instruction set.
#pragma once

#include <cstdint>
#include <span>

#include "octavo/dtype.hpp"
#include "octavo/numeric.hpp"

namespace octavo::cpu {

/// Columns of every tile and of one panel of B.
inline constexpr std::int64_t kPanelCols = 16;

/// Columns of the output that one tile of sums covers, and the distance of its rows.
inline constexpr std::int64_t kTileCols = 64;

/// One step from a sum to an output element, over a whole tile.
struct FinishStep {
  enum class Kind : std::uint8_t {
    scale_row,       ///< t[r][j] *= data[r * stride]
    scale_elements,  ///< t[r][j] *= data[r * stride + j]
    add_elements,    ///< t[r][j] += data[r * stride + j]
  };
  Kind kind;
  const float* data;    ///< whole rows of kTileCols floats where elements are read
  std::int64_t stride;  ///< 0: the same for all rows
};

/// A tile of sums on its way out. Every step is rounded by itself.
struct FinishTile {
  std::int64_t rows;
  /// [rows][kTileCols] sums; null: those of `integers`.
  const float* floats;
  /// [rows][kTileCols]; the sum is integers[r][j] - shift[r] * column_sums[j], modulo 2^32.
  const std::int32_t* integers;
  const std::int32_t* shift;
  const std::int32_t* column_sums;
  std::span<const FinishStep> steps;
  /// int32: the integer sum itself, without steps.
  DType dtype;
  Overflow overflow;
  void* out;               ///< whole rows of kTileCols elements are written
  std::int64_t row_bytes;  ///< from one row of `out` to the next
};

/// The functions of one instruction set. All of them give the same bits on every one.
struct Kernels {
  const char* on_integers;  ///< what explain says of the tile
  const char* on_floats;

  /// tile(depth, a, b, c, ldc) adds A B to c [rows][ldc], 16 columns of it:
  ///   a  [depth][rows], one column of the row panel after the other
  ///   b  [depth][16], one row of the column panel after the other
  /// b and c are 64-byte aligned, ldc is a multiple of 16; depth may be 0. For each element the
  /// products enter one float32 accumulator in ascending k, product and sum each rounded and never
  /// fused. Panels are padded with zeros: a kernel always computes its whole tile.
  int rows;
  void (*tile)(std::int64_t depth, const float* a, const float* b, float* c,
               std::int64_t ldc) noexcept;

  /// `count` neighbouring elements of an operand type as float32, exactly. Any alignment.
  void (*widen)(DType dtype, const void* source, std::int64_t count, float* out) noexcept;

  /// The nearest values of an operand type to in[i], as neighbouring elements (specification
  /// section 1). Any alignment.
  void (*narrow)(DType dtype, const float* in, std::int64_t count, void* out,
                 Overflow overflow) noexcept;

  /// The largest magnitude below `limit` (given as float32 bits without a sign), 0 if there is
  /// none.
  float (*absmax)(const float* x, std::int64_t count, std::uint32_t limit) noexcept;

  /// x[i] = x[i] / divisor, correctly rounded.
  void (*divide)(float* x, std::int64_t count, float divisor) noexcept;

  /// Scales, additions and the conversion to the output's type.
  void (*finish)(const FinishTile& tile) noexcept;
};

/// Limits of absmax: finite elements only, or infinities too but not NaN.
inline constexpr std::uint32_t kFiniteOnly = 0x7F800000U;
inline constexpr std::uint32_t kAllButNaN = 0x7F800001U;

/// Any CPU: 4-wide vectors of the compiler.
extern const Kernels kBaselineKernels;
#if defined(__x86_64__)
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;
#endif

/// The kernels that this CPU can run, best first.
std::span<const Kernels* const> usable_kernels() noexcept;
inline const Kernels& best_kernels() noexcept { return *usable_kernels().front(); }

}  // namespace octavo::cpu
