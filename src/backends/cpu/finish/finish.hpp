// SPDX-License-Identifier: Apache-2.0
// The finish of products as a pass of its own.
#pragma once

#include "backends/passes.hpp"

namespace octavo::cpu {

Status finish(const FinishProblem& problem, const ExecContext& context) noexcept;

}  // namespace octavo::cpu
