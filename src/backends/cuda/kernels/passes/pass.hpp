// SPDX-License-Identifier: Apache-2.0
// How kernels of passes share out their work.
//
// Such a kernel is a struct: Params, plain data that it takes by value; kThreads of a CTA;
// kSharedBytes; run(m, p), one thread's program. A launch has as many CTAs as fill the device, and
// at most one for each piece of work: pieces are taken in turn.
#pragma once

#include <cstdint>

#include "backends/cuda/machine/types.hpp"

namespace octavo::cuda {

/// body(i) for the elements i of [0, count) that are this thread's: neighbours for neighbours.
template <class Machine, class Body>
OCTAVO_DEVICE void each_element(Machine& m, std::uint32_t threads, std::int64_t count,
                                const Body& body) {
  const std::int64_t step = std::int64_t{m.blocks()} * threads;
  for (std::int64_t i = std::int64_t{m.block()} * threads + m.tid(); i < count; i += step) body(i);
}

/// body(i) for the pieces i of [0, count) that are this CTA's, all of its threads together.
template <class Machine, class Body>
OCTAVO_DEVICE void each_piece(Machine& m, std::int64_t count, const Body& body) {
  for (std::int64_t i = m.block(); i < count; i += m.blocks()) body(i);
}

}  // namespace octavo::cuda
