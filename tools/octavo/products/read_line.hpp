// SPDX-License-Identifier: Apache-2.0
// Problem lines as users write them: in quotes or not.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "octavo/problem_line.hpp"

namespace octavo::cli {

/// parse_problem_line, of spellings that go with 1.0, too. Throws Error.
ProblemLine read_line(std::string_view text);

/// The words as one line.
std::string joined(const std::vector<std::string>& words);

/// The words as lines: the name of an operation begins a line, and so does an argument of several
/// words, which was in quotes.
std::vector<std::string> lines_of(const std::vector<std::string>& words);

}  // namespace octavo::cli
