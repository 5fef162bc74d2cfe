// SPDX-License-Identifier: Apache-2.0
// The contract between the CPU driver and its microkernels.
#pragma once

#include <cstdint>

namespace octavo::cpu {

/// A float32 microkernel and its tile.
///
/// run(depth, a, b, c, ldc) adds A B to the tile c [rows][ldc], cols of ldc floats wide:
///   a  [depth][rows], one column of the row panel after the other
///   b  [depth][cols], one row of the column panel after the other
/// All three are 16-byte aligned; depth may be 0. For each element the products enter one float32
/// accumulator in ascending k, product and sum each rounded, so no result depends on the tile.
/// Panels are padded with zeros: a kernel always computes its whole tile.
struct Microkernel {
  int rows;
  int cols;
  void (*run)(std::int64_t depth, const float* a, const float* b, float* c,
              std::int64_t ldc) noexcept;
};

/// Portable C++ on 4-wide vectors of the compiler.
extern const Microkernel kGenericMicrokernel;

}  // namespace octavo::cpu
