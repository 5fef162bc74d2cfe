// SPDX-License-Identifier: Apache-2.0
// The loops around the float32 tile.
#pragma once

#include <cstddef>

#include "backends/arena.hpp"
#include "backends/backend.hpp"

namespace octavo::cpu {

/// Runs one member, or with a counting arena only reserves its workspace.
/// Every operand type is widened to float32; integer sums are collected exactly.
void run_member(const Member& member, const MatmulOptions& options, const ExecContext& context,
                Arena& arena) noexcept;

}  // namespace octavo::cpu
