// SPDX-License-Identifier: Apache-2.0
// What ends the phases of mbarriers: arrivals (machine_barriers.cpp) and copies that land.
#pragma once

#include "simulator/simulation.hpp"

namespace octavo::cuda::simulator {

/// One arrival; a Fault where there are too many.
void arrive_at_barrier(Simulation& simulation, MBarrier& barrier, std::uint32_t address,
                       double time, const Where& where);

/// Ends the phase if nothing is pending and no byte is expected: waiting threads go on.
void complete_phase(Simulation& simulation, MBarrier& barrier);

}  // namespace octavo::cuda::simulator
