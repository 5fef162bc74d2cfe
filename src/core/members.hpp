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

/// How many members have to be looked at to know what all of them are like: members of a batch
/// differ in their memory alone.
inline std::int64_t distinct_members(const MatmulProblem& problem) noexcept {
  const std::int64_t count = group_count(problem);
  return problem.groups.split == Split::batch && count > 1 ? 1 : count;
}

}  // namespace octavo
