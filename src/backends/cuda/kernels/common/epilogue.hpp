// SPDX-License-Identifier: Apache-2.0
// From sums to the output: section 3's steps, each rounded by itself.
//
//     t = float(acc);  t *= sa;  t *= sb;  t += bias;  out = cast(t)
//
// A factor that is absent is 1, a bias that is absent -0: neither changes a bit of any value.
// Compiled with -fmad=false, so that no step is fused.
#pragma once

#include <string.h>

#include "backends/cuda/kernels/common/elements.hpp"

namespace octavo::cuda {

/// What the host passes for one vector: a number, one value (step 0), or one for each row or
/// column, of a wide type. Of groups, each may have its own.
struct Factors {
  const void* values = nullptr;  ///< null: the number
  std::int32_t step = 0;
  float number = 1.0F;
  DType dtype = DType::float32;
  std::int64_t group_step = 0;

  template <class Machine>
  OCTAVO_DEVICE float at(Machine& m, int index, int count, int group = 0) const {
    return values != nullptr && index < count
               ? read_wide(m, dtype, values, group * group_step + std::int64_t{index} * step)
               : number;
  }
};

/// Vectors of an epilogue.
struct EpilogueParams {
  Factors scale_a;                  ///< of rows
  Factors scale_b;                  ///< of columns
  Factors bias{nullptr, 0, -0.0F};  ///< of columns
};

/// scale_b and bias of a tile's columns, in shared memory: one pair a column.
struct ColumnFactors {
  float scale, bias;
};

/// A float's or an integer's bits.
template <class T>
OCTAVO_HOST_DEVICE std::uint32_t bits_of(T value) {
  static_assert(sizeof(T) == sizeof(std::uint32_t));
  std::uint32_t bits;
  memcpy(&bits, &value, sizeof(bits));
  return bits;
}

OCTAVO_HOST_DEVICE float finish(float sum, float scale_a, const ColumnFactors& column) {
  float t = sum * scale_a;
  t = t * column.scale;
  return t + column.bias;
}

}  // namespace octavo::cuda
