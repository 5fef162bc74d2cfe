// SPDX-License-Identifier: Apache-2.0
// Members of a problem without copying those that exist already.
#pragma once

#include "octavo/problem.hpp"

namespace octavo {

/// member(problem, g): where it lies, or in `cut` where offsets cut it.
inline const Member& member_in(const MatmulProblem& problem, std::int64_t g, Member& cut) noexcept {
  if (problem.groups.split == Split::none) return problem.single;
  if (problem.groups.split == Split::list) {
    return problem.groups.list[static_cast<std::size_t>(g)];
  }
  return cut = member(problem, g);
}

}  // namespace octavo
