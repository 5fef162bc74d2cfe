// SPDX-License-Identifier: Apache-2.0
// Scales that change along K, for the kernels that take them with the sums of their cells.
#pragma once

#include "backends/cuda/kernels/common/k_scale_steps.hpp"
#include "backends/cuda/launch/scratch.hpp"
#include "octavo/context.hpp"
#include "octavo/problem.hpp"
#include "octavo/status.hpp"

namespace octavo::cuda {

/// Does a scale of an operand, or one that its quantiser makes, change along K?
bool has_k_scales(const Member& member) noexcept;

/// Null where they are of whole steps and of columns that a tile has together or each for itself,
/// and no operand has two scales; else one static sentence. `split`: what offsets cut.
const char* lacks_k_scales(const Member& member, Split split, const KScaleUnits& units) noexcept;

/// The member whose sums have met them.
Member without_k_scales(const Member& member) noexcept;

/// What the kernels read: scales as they lie, or in float32 in `memory`, which has room for both
/// operands'.
class KScalesOnDevice {
 public:
  explicit KScalesOnDevice(const Place& place) noexcept : a_(place), b_(place) {}
  Status make(const Member& member, const KScaleUnits& units, const ExecContext& context,
              KScales& out) noexcept;
  /// The same of all groups of a tensor form that are rows of one matrix, from whose first row
  /// lines of A are counted.
  Status make(const MatmulProblem& problem, const KScaleUnits& units, const ExecContext& context,
              KScales& out) noexcept;

 private:
  Scratch a_, b_;
};

}  // namespace octavo::cuda
