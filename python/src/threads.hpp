// SPDX-License-Identifier: Apache-2.0
// Whose threads calls from Python run on.
#pragma once

#include <string>

#include "octavo/context.hpp"

namespace octavo::python {

/// The context of every call: OpenMP's threads after `use_openmp`, else the default executor's; no
/// more than `set_num_threads` allows.
const ExecContext& context() noexcept;

/// Limits the threads of later calls; 0: no limit. Raises ValueError.
void set_num_threads(int threads);
int num_threads() noexcept;

/// Runs later calls on the OpenMP runtime that the process has, else on that path's, which a
/// framework has loaded: its idle threads spin for milliseconds after each of its own parallel
/// loops, and would keep the cores from any other pool. Then the framework's own setting of
/// threads counts, too. False: there is none.
bool use_openmp(const std::string& path);
/// Runs later calls on the default executor's threads again.
void use_own_threads() noexcept;

/// "2 threads, ...": whose, and why.
std::string threads_reason();

}  // namespace octavo::python
