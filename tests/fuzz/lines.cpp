// SPDX-License-Identifier: Apache-2.0
// Problem lines: what is accepted has a canonical spelling that means the same, and is explained.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "octavo/octavo.hpp"

namespace {

/// Lines whose extents a person would write: `explain` takes time for each member of a group.
bool small(const octavo::ProblemLine& line) {
  constexpr std::int64_t kMost = std::int64_t{1} << 20;
  constexpr std::size_t kMembers = 64;
  return line.m <= kMost && line.n <= kMost && line.k <= kMost && line.groups.size() <= kMembers;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const octavo::ProblemLine line =
        octavo::parse_problem_line({reinterpret_cast<const char*>(data), size});
    const std::string spelling = octavo::to_string(line);
    if (octavo::to_string(octavo::parse_problem_line(spelling)) != spelling) std::abort();
    if (!line.prepacked && small(line)) (void)octavo::explain(line);
  } catch (const octavo::Error&) {  // the promised way to say no
  }
  return 0;
}
