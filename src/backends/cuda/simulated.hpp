// SPDX-License-Identifier: Apache-2.0
// The backend sm90-sim: Hopper's kernels on the simulator, for operands in host memory.
#pragma once

#include "backends/backend.hpp"

namespace octavo::cuda {

/// Not in the registry: tests add it. Each product takes a good part of a second.
extern const Backend kSimulatedBackend;

}  // namespace octavo::cuda
