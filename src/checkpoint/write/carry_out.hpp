// SPDX-License-Identifier: Apache-2.0
// Carrying out a plan: a file or a folder in, the same out.
#pragma once

#include <string>

#include "checkpoint/steps/plan.hpp"
#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

/// Writes what a plan says to `out`: a file where `in` is one, else a folder. Throws Error.
QuantizeReport carry_out(const Checkpoint& in, const std::string& out, WritePlan plan,
                         const RunOptions& options);

}  // namespace octavo::checkpoint
