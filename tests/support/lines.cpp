// SPDX-License-Identifier: Apache-2.0
// Problem lines from files.
#include "support/lines.hpp"

#include <cstring>
#include <fstream>
#include <stdexcept>

#include "kit/element.hpp"

namespace octavo::test {
namespace {

template <class Visit>
void for_each_output(const MatmulProblem& p, const Visit& visit) {
  const auto visit_all = [&](const TensorView& out) {
    for (std::int64_t i = 0; i < out.numel(); ++i) {
      std::int64_t rest = i;
      std::int64_t offset = 0;
      for (std::size_t d = static_cast<std::size_t>(out.rank); d-- > 0;) {
        offset += rest % out.shape[d] * out.strides[d];
        rest /= out.shape[d];
      }
      visit(out, offset);
    }
  };
  if (p.groups.split != Split::list) return visit_all(p.single.out);
  for (const Member& member : p.groups.list) visit_all(member.out);
}

}  // namespace

std::vector<std::string> lines_of(const std::string& name) {
  const std::string path = std::string(OCTAVO_TEST_LINES) + "/" + name + ".txt";
  std::ifstream file(path);
  if (!file) throw std::runtime_error("no problem lines at " + path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty() && line.front() != '#') lines.push_back(line);
  }
  return lines;
}

std::vector<std::uint8_t> output_bytes(const MatmulProblem& p) {
  std::vector<std::uint8_t> bytes;
  for_each_output(p, [&](const TensorView& out, std::int64_t offset) {
    const auto* element = static_cast<const std::uint8_t*>(out.at(offset));
    const std::size_t size = static_cast<std::size_t>(element_bytes(out.dtype));
    const double value = kit::load(out, offset);
    // All NaNs count as one.
    for (std::size_t i = 0; i < size; ++i) bytes.push_back(value != value ? 0xFF : element[i]);
  });
  return bytes;
}

testing::AssertionResult same_bits(const MatmulProblem& got, const MatmulProblem& want) {
  const std::vector<std::uint8_t> a = output_bytes(got);
  const std::vector<std::uint8_t> b = output_bytes(want);
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
