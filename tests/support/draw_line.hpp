// SPDX-License-Identifier: Apache-2.0
// Random problem lines: every operation, type, granularity, split, layout and term that they spell.
#pragma once

#include "octavo/problem_line.hpp"

namespace octavo::test {

/// The largest that one problem in four may have; the others are small.
struct LineExtents {
  std::int64_t m = 300, n = 700, k = 1200;
};
/// What a line parses to: valid, but a backend may refuse it.
ProblemLine draw_line(const LineExtents& extents = {});

}  // namespace octavo::test
