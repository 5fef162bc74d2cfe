// SPDX-License-Identifier: Apache-2.0
// All members of a problem on dot products, in one parallel region.
#pragma once

#include <cstddef>

#include "backends/backend.hpp"
#include "backends/cpu/kernels/dot.hpp"

namespace octavo::cpu {

/// Null where every member has a path on that machine, else one sentence.
const char* refuse_dot(const MatmulProblem& problem, const DotMachine& machine) noexcept;

/// What explain says of a problem that is not refused.
const char* how_dot(const MatmulProblem& problem, const DotMachine& machine) noexcept;

/// What running a problem that is not refused takes of a workspace.
/// Does a member count numbers below 2^-126 as 0?
bool flushes_dot(const MatmulProblem& problem, const DotMachine& machine) noexcept;
Status measure_dot(const Backend& backend, const MatmulProblem& problem, const DotMachine& machine,
                   const ExecContext& context, std::size_t& bytes) noexcept;

/// Runs it in a workspace of that size, its activations quantised by `backend`; integer sums are
/// exact. `used` becomes what it took.
Status run_dot(const Backend& backend, const MatmulProblem& problem, const DotMachine& machine,
               const ExecContext& context, void* workspace, std::size_t& used) noexcept;

}  // namespace octavo::cpu
