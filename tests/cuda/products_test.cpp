// SPDX-License-Identifier: Apache-2.0
// Whole operations on Hopper's kernels in the simulator: every problem line that the backend sm90-sim
// takes, against the reference.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "backends/backend.hpp"
#include "backends/cuda/simulated.hpp"
#include "kit/check.hpp"
#include "kit/oracle.hpp"
#include "octavo/octavo.hpp"
#include "support/guard.hpp"
#include "support/lines.hpp"

namespace octavo::test {
namespace {

using kit::Content;
using kit::Operands;

constexpr const char* kName = "sm90-sim";

// Before any other call.
const bool added = [] {
  add_backend(cuda::kSimulatedBackend);
  return true;
}();

bool takes(const MatmulProblem& problem) {
  const std::vector<std::string> names = accepting_backends(problem);
  return std::find(names.begin(), names.end(), kName) != names.end();
}

void run_on(const MatmulProblem& problem, const char* backend) { run(problem, {}, backend); }

std::vector<std::string> all_lines() {
  std::vector<std::string> all;
  for (const char* file :
       {"types", "scales", "epilogue", "grouped", "shapes", "layouts", "fused"}) {
    for (const std::string& line : lines_of(file)) all.push_back(line);
  }
  return all;
}

// Integers have one answer; so have operands whose sums are exact in every order, but for fp8 sums
// that need more than the tensor cores' 13 fractional bits.
TEST(SimulatedProducts, IntegerLinesAreTheReferencesBits) {
  ASSERT_TRUE(added);
  int ran = 0;
  for (const std::string& text : all_lines()) {
    const ProblemLine line = parse_problem_line(text);
    const DType a = line.quantise != DType::undefined ? line.quantise : line.a;
    if (!is_integer8(a) || !is_integer8(line.b)) continue;
    Operands operands(line, Content::gaussian, guarded(Side::right));
    const LineProblem want = make_problem(line, operands);
    if (!takes(want.problem())) continue;
    run_on(want.problem(), "reference");
    Operands again(line, Content::gaussian, guarded(Side::right));
    const LineProblem got = make_problem(line, again);
    run_on(got.problem(), kName);
    EXPECT_TRUE(same_bits(got.problem(), want.problem())) << text;
    ++ran;
  }
  std::printf("%d integer lines ran\n", ran);
  EXPECT_GT(ran, 50);
}

}  // namespace
}  // namespace octavo::test
