// SPDX-License-Identifier: Apache-2.0
// Processes that MPI started.
#pragma once

#include <functional>

#include "model/linear_layer.hpp"

namespace reverse_dictionary {

/// Calls `body` with all processes of this run of mpiexec. What it throws on one of them is said on
/// stderr and ends them all.
/// Throws UsageError where this program was built without MPI.
void on_ranks(const std::function<void(const Ranks&)>& body);

}  // namespace reverse_dictionary
