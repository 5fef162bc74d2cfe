// SPDX-License-Identifier: Apache-2.0
// The members of a problem one after the other, each with the whole workspace.
#pragma once

#include <algorithm>
#include <cstddef>

#include "backends/arena.hpp"
#include "backends/backend.hpp"
#include "backends/prologue.hpp"
#include "backends/zero.hpp"
#include "core/error.hpp"

namespace octavo::cpu {

/// Runs one member, or with a counting arena only reserves its workspace.
using RunMember = void (*)(const Member& member, const MatmulOptions& options,
                           const ExecContext& context, Arena& arena) noexcept;

/// Runs every member behind the prologue of its activations, with `backend`'s quantisers; over no
/// workspace it only measures. `most` becomes the bytes that the hungriest member took.
inline Status run_members(const Backend& backend, RunMember run, const MatmulProblem& problem,
                          const ExecContext& context, void* workspace, std::size_t& most) noexcept {
  for (std::int64_t g = 0; g < group_count(problem); ++g) {
    Member part = member(problem, g);
    Arena arena(workspace);
    OCTAVO_TRY(quantise_activations(backend, part, arena, context));
    run(part, problem.options, context, arena);
    most = std::max(most, arena.used());
  }
  return {};
}

inline std::size_t measure_members(const Backend& backend, RunMember run,
                                   const MatmulProblem& problem,
                                   const ExecContext& context) noexcept {
  std::size_t most = 0;
  (void)run_members(backend, run, problem, context, nullptr, most).ok();
  return most;
}

/// Runs them, and clears the part of the output that belongs to none.
inline Status run_all(const Backend& backend, RunMember run, const MatmulProblem& problem,
                      const ExecContext& context, void* workspace) noexcept {
  std::size_t most = 0;
  OCTAVO_TRY(run_members(backend, run, problem, context, workspace, most));
  fill_zero(tail(problem));
  return {};
}

}  // namespace octavo::cpu
