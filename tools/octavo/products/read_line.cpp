// SPDX-License-Identifier: Apache-2.0
#include "read_line.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <sstream>

#include "kit/timing/measure_call.hpp"
#include "renamed.hpp"

namespace octavo::cli {
namespace {

constexpr std::string_view kBlanks = " \t\r\n";

bool begins_a_line(std::string_view word) {
  if (word.find_first_of(kBlanks) != std::string_view::npos) return true;
  const std::vector<std::string_view> operations = problem_line_operations();
  return std::ranges::find(operations, word) != operations.end() || kit::call_kind(word) != nullptr;
}

}  // namespace

ProblemLine read_line(std::string_view text) {
  std::istringstream words{std::string(text)};
  std::vector<std::string> now;
  for (std::string word; words >> word;) now.push_back(current_spelling(kProblemLine, word));
  return parse_problem_line(joined(now));
}

std::string joined(const std::vector<std::string>& words) {
  return fmt::format("{}", fmt::join(words, " "));
}

std::vector<std::string> lines_of(const std::vector<std::string>& words) {
  std::vector<std::string> lines;
  bool open = false;  // an operation's name has begun the last line, which was not in quotes
  for (const std::string& word : words) {
    if (open && !begins_a_line(word)) {
      lines.back() += ' ' + word;
      continue;
    }
    lines.push_back(word);
    open = word.find_first_of(kBlanks) == std::string::npos;
  }
  return lines;
}

}  // namespace octavo::cli
