// SPDX-License-Identifier: Apache-2.0
// Problem lines as users write them.
#pragma once

#include <string_view>

#include "octavo/problem_line.hpp"
#include "output.hpp"

namespace octavo::cli {

/// parse_problem_line, and a warning of a spelling that goes with 1.0. Throws Error.
inline ProblemLine read_line(std::string_view text) {
  ProblemLine line = parse_problem_line(text);
  if (line.old_spelling) warn("problem line: quantise= is quantize= from 1.0 on");
  return line;
}

}  // namespace octavo::cli
