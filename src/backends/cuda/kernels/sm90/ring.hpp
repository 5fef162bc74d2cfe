// SPDX-License-Identifier: Apache-2.0
// A ring of stages in shared memory between who fills them and who empties them.
//
// Stage s is filled when `full(s)` ends a phase and free when `empty(s)` does; both sides go
// through the stages in the same order, each with a place of its own. A barrier's phase alternates
// with every turn of the ring: who fills waits for the phase before the first one, which counts as
// over.
#pragma once

#include "backends/cuda/machine/types.hpp"

namespace octavo::cuda {

template <int stages>
struct Ring {
  static constexpr std::uint32_t kBarrierBytes = 16 * stages;  // full and empty of each stage

  std::uint32_t barriers;  // shared address

  OCTAVO_HOST_DEVICE std::uint32_t full(std::uint32_t stage) const { return barriers + 8 * stage; }
  OCTAVO_HOST_DEVICE std::uint32_t empty(std::uint32_t stage) const {
    return barriers + 8 * (stages + stage);
  }
};

template <int stages>
struct RingPlace {
  std::uint32_t stage = 0, phase = 0;

  OCTAVO_HOST_DEVICE void advance() {
    if (++stage == stages) {
      stage = 0;
      phase ^= 1;
    }
  }
};

}  // namespace octavo::cuda
