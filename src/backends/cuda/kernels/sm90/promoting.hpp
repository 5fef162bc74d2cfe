// SPDX-License-Identifier: Apache-2.0
// Sums of 128 elements of K, each made by the tensor cores from zero and added in float32 beside
// them, two at a time: one is added while the tensor cores have the other.
//
//     tensor cores   | even      | odd       |           | even      | odd
//     additions                  | even      | odd       |           | even
//
// (Of one warpgroup; another fills the gap. Two that wait for the same stage, with one sum in
// flight each, add at the same time while the tensor cores rest.)
#pragma once

#include "backends/cuda/machine/types.hpp"

namespace octavo::cuda {

/// Adds the sums of `steps` stages to `totals`. multiply(place, sums) issues the products of a
/// stage, once it is filled; leave(stage) says that they are done; StepSums is k_scales.hpp's.
template <class StepSums, class Machine, class Place, class Multiply, class Leave, int count>
OCTAVO_DEVICE void add_steps(Machine& m, StepSums& of_step, int steps, Place& place,
                             const Multiply& multiply, const Leave& leave, float (&totals)[count]) {
  int step = 0;
  if constexpr (StepSums::kPairs) {
    for (; step + 1 < steps; step += 2) {
      float even[count], odd[count];
      const std::uint32_t first = place.stage;
      multiply(place, even);
      place.advance();
      const std::uint32_t second = place.stage;
      multiply(place, odd);
      place.advance();
      const auto of_even = of_step.load(m);
      const auto of_odd = of_step.load(m);
      m.template wgmma_wait<1>(even);
      leave(first);
      of_step.add(m, of_even, even, totals);
      m.template wgmma_wait<0>(odd);
      leave(second);
      of_step.add(m, of_odd, odd, totals);
    }
  }
  for (; step < steps; ++step, place.advance()) {
    float sums[count];
    multiply(place, sums);
    const auto scales = of_step.load(m);
    m.template wgmma_wait<0>(sums);
    leave(place.stage);
    of_step.add(m, scales, sums, totals);
  }
}

}  // namespace octavo::cuda
