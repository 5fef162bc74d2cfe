// SPDX-License-Identifier: Apache-2.0
// Choosing a backend for a problem, and running it there.
#pragma once

#include "backends/backend.hpp"
#include "core/threads/executors.hpp"
#include "octavo/context.hpp"
#include "octavo/problem.hpp"
#include "octavo/status.hpp"

namespace octavo {

/// The forced backend: the argument, else OCTAVO_BACKEND, else null.
Result<const Backend*> forced_backend(const char* operation, const char* argument);

/// Null and the plan of an Outline's problem, or why the backend does not run it.
const char* ask(const Backend& backend, const MatmulProblem& problem, int threads,
                Plan& plan) noexcept;

/// Who will run the problem, and how; cached by signature where the problem has one.
Result<Plan> make_plan(const MatmulProblem& problem, const ExecContext& context,
                       const char* backend);

/// A call's device is one that is built.
Status check_device(const char* operation, const ExecContext& context);

/// Plans, finds a workspace and runs. Outputs are set in the problem.
Status run_problem(const MatmulProblem& problem, const ExecContext& context, const char* backend);

/// Whose passes run on tensors of a device: the first usable backend's, or the forced one's.
Result<const Backend*> backend_for(const char* operation, Device device, const char* argument);

}  // namespace octavo
