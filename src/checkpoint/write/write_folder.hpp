// SPDX-License-Identifier: Apache-2.0
// A model's folder in, a folder out.
#pragma once

#include <string>

#include "checkpoint/steps/plan.hpp"
#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

/// Writes the files of a plan, the index, everything else that the folder holds, and config.json
/// last: a folder that is not whole has none. What a run that was ended has finished is taken over
/// by the next one of the same job.
QuantizeReport write_folder(const Checkpoint& in, const std::string& out, WritePlan plan,
                            const RunOptions& options);

}  // namespace octavo::checkpoint
