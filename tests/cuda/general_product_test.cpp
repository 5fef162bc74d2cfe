// SPDX-License-Identifier: Apache-2.0
// The general product on a device, as the backend "cuda" runs it: the reference's bits for every
// problem line.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "backends/backend.hpp"
#include "cuda/device_kit.hpp"
#include "octavo/octavo.hpp"
#include "ops/helpers.hpp"
#include "support/lines.hpp"

namespace octavo::test {
namespace {

using kit::Content;
using kit::Operands;

std::vector<Tensor> outputs(const MatmulProblem& problem) {
  if (problem.groups.split != Split::list) return {to_host(output(problem))};
  std::vector<Tensor> outs;
  for (const Member& member : problem.groups.list)
    outs.push_back(to_host(static_cast<TensorView>(member.out)));
  return outs;
}

void expect_references_bits(const std::string& text, Content content) {
  const ProblemLine line = parse_problem_line(text);
  Operands operands(line, content);
  const LineProblem want = make_problem(line, operands);
  run(want.problem(), {}, "reference");
  Operands again(line, content);
  DeviceSource source(again, kHopper);
  const LineProblem got = make_problem(line, source);
  run(got.problem(), {}, "cuda");
  const std::vector<Tensor> have = outputs(got.problem()), expected = outputs(want.problem());
  ASSERT_EQ(have.size(), expected.size());
  for (std::size_t i = 0; i < have.size(); ++i) expect_same_bits(have[i], expected[i]);
}

class GeneralProduct : public testing::TestWithParam<std::string> {};

TEST_P(GeneralProduct, HasTheReferencesBits) {
  expect_references_bits(GetParam(), Content::gaussian);
}

std::vector<std::string> lines() {
  std::vector<std::string> all{
      // Tiles at every edge; int32 sums that are widened on the way.
      "scaled_mm int8:int8:fp32 scale=group16:block32x8 azp bias 70x133x75",
      "scaled_mm e4m3fn:int8:bf16 scale=block128x128:group16 bias 130x66x300",
      "scaled_mm uint8:int8:int32 azp 3x5x33100",
  };
  for (const char* file :
       {"types", "scales", "epilogue", "grouped", "shapes", "layouts", "fused"}) {
    for (const std::string& text : lines_of(file)) {
      if (parse_problem_line(text).quantise == DType::undefined) all.push_back(text);
    }
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Lines, GeneralProduct, testing::ValuesIn(lines()));

}  // namespace
}  // namespace octavo::test
