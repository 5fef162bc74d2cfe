// SPDX-License-Identifier: Apache-2.0
// Problem lines from files.
#include "support/lines.hpp"

#include <algorithm>
#include <fstream>
#include <stdexcept>

#include "kit/oracle/check.hpp"
#include "support/source_folder.hpp"

namespace octavo::test {

std::vector<std::string> lines_of(const std::string& name) {
  const std::string path = in_checkout("tests/parity/lines/" + name + ".txt");
  std::ifstream file(path);
  if (!file) throw std::runtime_error("no problem lines at " + path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty() && line.front() != '#') lines.push_back(line);
  }
  return lines;
}

std::vector<std::string> accepting_backends(const MatmulProblem& problem) {
  std::vector<std::string> names;
  for (const Candidate& candidate : explain(problem).candidates) {
    if (candidate.accepts) names.push_back(candidate.backend);
  }
  return names;
}

testing::AssertionResult same_bits(const MatmulProblem& got, const MatmulProblem& want) {
  const std::vector<std::uint8_t> a = kit::output_bytes(got);
  const std::vector<std::uint8_t> b = kit::output_bytes(want);
  if (a == b) return testing::AssertionSuccess();
  if (a.size() != b.size()) {
    return testing::AssertionFailure() << a.size() << " bytes against " << b.size();
  }
  std::size_t differing = 0;
  std::size_t first = a.size();
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i] == b[i]) continue;
    ++differing;
    first = std::min(first, i);
  }
  return testing::AssertionFailure()
         << differing << " of " << a.size() << " bytes differ, the first at " << first;
}

std::string repro(const std::string& line, const std::string& backend) {
  return "repro: octavo bench --check --backend=" + backend + " \"" + line + "\"";
}

}  // namespace octavo::test
