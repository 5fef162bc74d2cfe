// SPDX-License-Identifier: Apache-2.0
// Every problem line on a far device: operands, scales, offsets, packed weights and workspaces
// there.
#include <gtest/gtest.h>

#include "far/same.hpp"
#include "support/lines.hpp"

namespace octavo::test::parity_test {
namespace {

using kit::Content;
using kit::Operands;

struct Case {
  std::string file, line;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.line; }

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const char* file :
       {"types", "scales", "epilogue", "grouped", "shapes", "layouts", "fused", "chunks"}) {
    for (const std::string& line : lines_of(file))
      if (parse_problem_line(line).k <= kFarDepth) cases.push_back({file, line});
  }
  return cases;
}

std::vector<Tensor> outputs(const MatmulProblem& problem) {
  std::vector<Tensor> outs;
  if (problem.groups.split != Split::list) return {to_host(output(problem))};
  for (const Member& member : problem.groups.list)
    outs.push_back(to_host(static_cast<TensorView>(member.out)));
  return outs;
}

class FarParity : public testing::TestWithParam<Case> {};

TEST_P(FarParity, HasTheReferencesBits) {
  const ProblemLine line = parse_problem_line(GetParam().line);
  for (const Content content : {Content::gaussian, Content::adversarial}) {
    Operands operands(line, content);
    const LineProblem near = make_problem(line, operands);
    Operands same(line, content);
    FarSource source(same);
    const LineProblem far = make_problem(line, source);
    run(near.problem(), {}, "reference");
    run(far.problem(), {}, kFarBackend);
    const std::vector<Tensor> want = outputs(near.problem());
    const std::vector<Tensor> got = outputs(far.problem());
    ASSERT_EQ(got.size(), want.size());
    for (std::size_t i = 0; i < got.size(); ++i) expect_same_numbers(got[i], want[i]);
  }
}

INSTANTIATE_TEST_SUITE_P(Lines, FarParity, testing::ValuesIn(all_cases()),
                         [](const testing::TestParamInfo<Case>& test) {
                           return test.param.file + std::to_string(test.index);
                         });

}  // namespace
}  // namespace octavo::test::parity_test
