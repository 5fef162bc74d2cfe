// SPDX-License-Identifier: Apache-2.0
// The product that takes every member on every device, with the reference's bits.
#pragma once

#include "octavo/problem.hpp"
#include "octavo/status.hpp"

namespace octavo::cuda {

/// Queues one member, whose A is no longer to be quantised and whose B is a matrix.
Status run_general(const Member& member, const MatmulOptions& options, const Place& place) noexcept;

}  // namespace octavo::cuda
