// SPDX-License-Identifier: Apache-2.0
// All members of a problem on dot products, in one parallel region.
#pragma once

#include <cstddef>

#include "backends/backend.hpp"
#include "backends/cpu/kernels/tile_contract.hpp"

namespace octavo::cpu {

/// Null and the plan where every member has a path on that machine, else one sentence.
const char* plan_dot(const Backend& backend, const MatmulProblem& problem,
                     const DotMachine& machine, int threads, Plan& plan) noexcept;

/// Runs a problem by its plan, its activations quantised by `backend`; integer sums are exact.
/// `used` becomes what it took of the workspace.
Status run_dot(const Backend& backend, const MatmulProblem& problem, const DotMachine& machine,
               const Plan& plan, const ExecContext& context, void* workspace,
               std::size_t& used) noexcept;

}  // namespace octavo::cpu
