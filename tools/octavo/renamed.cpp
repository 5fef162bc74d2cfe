// SPDX-License-Identifier: Apache-2.0
#include "renamed.hpp"

#include <fmt/format.h>

#include <array>

#include "output.hpp"

namespace octavo::cli {
namespace {

struct Renamed {
  std::string_view where, was, is;
};

// "threshold" is the word of LLM.int8(), "static" that of activation scales: one word for each in
// options and lines. C++ and Python say outlier_threshold and static_scale.
constexpr std::array kRenamed{
    Renamed{"quantize", "--outlier-threshold", "--threshold"},
    Renamed{"quantize", "--static-scales", "--static"},
    Renamed{kProblemLine, "outlier_threshold", "threshold"},
    Renamed{kProblemLine, "static_scale", "static"},
    Renamed{kProblemLine, "quantise", "quantize"},
};

}  // namespace

std::string current_spelling(std::string_view where, std::string word) {
  const std::size_t end = word.find('=');
  const std::string_view name = std::string_view(word).substr(0, end);
  for (const Renamed& row : kRenamed) {
    if (row.where != where || row.was != name) continue;
    const char* equals = where == kProblemLine ? "=" : "";
    warn(fmt::format("{}: {}{} is {}{} from 1.0 on", where, row.was, equals, row.is, equals));
    return std::string(row.is) + (end == std::string::npos ? "" : word.substr(end));
  }
  return word;
}

}  // namespace octavo::cli
