// SPDX-License-Identifier: Apache-2.0
// Scales that change along K, every step or more rarely (section 3: partial sums take the scales of
// their cell):
//
//     total(i, j) += (sum(i, j) * sa(i, step)) * sb(step, j)
//
// Each operation is rounded by itself. Of wgmma a step is 128 elements, whose sums promotion takes
// out of the tensor cores anyway; of mma.sync it is 32, and sums go on while neither scale changes
// (mma_sums.hpp). A row's scales and a column's are read from global memory.
#pragma once

#include <cstdint>

#include "backends/cuda/machine/types.hpp"

namespace octavo::cuda {

/// What a kernel takes: cells of steps of so many elements of K; of B each column its own, or cells
/// of multiples of so many columns, so that a tile of them has one.
struct KScaleUnits {
  std::int64_t step, columns;
};
constexpr KScaleUnits kWgmmaKScales{128, 128}, kMmaKScales{32, 1};

/// One operand's: lines are rows of A, columns of B.
struct KScale {
  const float* values = nullptr;                           ///< null: 1
  std::int64_t line_step = 0, k_step = 0, group_step = 0;  ///< from a cell (a group) to the next
  std::int32_t lines = 1, first_line = 0;                  ///< of a cell; before the first line
  std::int32_t steps = kNoEnd, first_step = 0;             ///< the same along K

  static constexpr std::int32_t kNoEnd = 0x7FFFFFFF;

  /// Does each line have its own?
  OCTAVO_HOST_DEVICE bool of_each_line() const { return lines == 1 && line_step != 0; }
  /// A line's at a step; beyond `count` that of the last one.
  OCTAVO_HOST_DEVICE const float* at(int index, int count, int group, int step) const {
    const int line = index < count ? index : count - 1;
    return values + group * group_step + (first_line + line) / lines * line_step +
           (first_step + step) / steps * k_step;
  }
  template <class Machine>
  OCTAVO_DEVICE float load(Machine& m, const float* from) const {
    return values != nullptr ? m.load_global(from) : 1.0F;
  }
};

/// How many steps of a cell are left: from step to step without a division.
struct KCell {
  std::int32_t left;

  OCTAVO_HOST_DEVICE KCell(const KScale& scale, int step)
      : left(scale.steps - (scale.first_step + step) % scale.steps) {}
  /// Is this step its last one?
  OCTAVO_HOST_DEVICE bool ends() const { return left == 1; }
  /// Elements from a step's scales to the next one's.
  OCTAVO_HOST_DEVICE std::int64_t advance(const KScale& scale) {
    if (--left > 0) return 0;
    left = scale.steps;
    return scale.k_step;
  }
};

struct KScales {
  KScale a, b;
};

/// How a thread's sums of a step are added where no scale changes along K: as they are.
struct UnscaledSums {
  template <class... Args>
  OCTAVO_DEVICE explicit UnscaledSums(const Args&...) {}
  static constexpr bool kPairs = true;
  struct Scales {};
  template <class Machine>
  OCTAVO_DEVICE Scales load(Machine&) {
    return {};
  }
  template <class Machine, int count>
  OCTAVO_DEVICE void add(Machine& m, const Scales&, const float (&sums)[count],
                         float (&totals)[count]) const {
    m.work(count);
    OCTAVO_UNROLL
    for (int i = 0; i < count; ++i) totals[i] += sums[i];
  }
};

/// What a step's sum adds to the total.
OCTAVO_HOST_DEVICE float scaled_sum(float sum, float scale_a, float scale_b) {
  const float t = sum * scale_a;
  return t * scale_b;
}

}  // namespace octavo::cuda
