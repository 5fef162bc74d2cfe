// SPDX-License-Identifier: Apache-2.0
// Passes on a device (backends/passes.hpp says what each computes): they queue kernels. Whatever
// memory they need beside the arena's they allocate in the stream's order (scratch.hpp).
#pragma once

#include "backends/passes.hpp"

namespace octavo::cuda {

// elements.cpp
Status convert(const ConvertProblem& problem, const ExecContext& context) noexcept;
Status fill(const FillProblem& problem, const ExecContext& context) noexcept;

// finish.cpp
Status finish(const FinishProblem& problem, const ExecContext& context) noexcept;

}  // namespace octavo::cuda
