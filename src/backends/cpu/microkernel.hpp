// SPDX-License-Identifier: Apache-2.0
// The contract between the CPU driver and its microkernels.
#pragma once

#include <cstdint>
#include <span>

#include "octavo/dtype.hpp"

namespace octavo::cpu {

/// Columns of every tile and of one panel of B.
inline constexpr std::int64_t kPanelCols = 16;

/// A float32 microkernel and its tile of `rows` x 16, and the widening of rows that feeds it.
///
/// run(depth, a, b, c, ldc) adds A B to the tile c [rows][ldc]:
///   a  [depth][rows], one column of the row panel after the other
///   b  [depth][16], one row of the column panel after the other
/// b and c are 64-byte aligned, ldc is a multiple of 16; depth may be 0. For each element the
/// products enter one float32 accumulator in ascending k, product and sum each rounded and never
/// fused, so that every kernel gives the same bits. Panels are padded with zeros: a kernel always
/// computes its whole tile.
///
/// widen(dtype, source, count, out) makes `count` neighbouring elements of an operand type float32,
/// exactly; no alignment is needed.
struct Microkernel {
  const char* on_integers;  ///< what explain says of it
  const char* on_floats;
  int rows;
  void (*run)(std::int64_t depth, const float* a, const float* b, float* c,
              std::int64_t ldc) noexcept;
  void (*widen)(DType dtype, const void* source, std::int64_t count, float* out) noexcept;
};

/// Any CPU: 4-wide vectors of the compiler.
extern const Microkernel kBaselineMicrokernel;
#if defined(__x86_64__)
extern const Microkernel kAvx2Microkernel;
extern const Microkernel kAvx512Microkernel;
#endif

/// The kernels that this CPU can run, best first.
std::span<const Microkernel* const> usable_microkernels() noexcept;
inline const Microkernel& best_microkernel() noexcept { return *usable_microkernels().front(); }

}  // namespace octavo::cpu
