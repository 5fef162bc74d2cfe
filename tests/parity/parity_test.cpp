// SPDX-License-Identifier: Apache-2.0
// Every backend on every problem line, held to both oracles, between guard pages.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <iomanip>
#include <sstream>

#include "kit/oracle/check.hpp"
#include "kit/oracle/oracle.hpp"
#include "octavo/octavo.hpp"
#include "support/guard.hpp"
#include "support/lines.hpp"

namespace octavo::test::parity_test {
namespace {

using kit::Content;
using kit::Operands;

// Section 9: integer products match the reference bit for bit, and so does whatever has one exact
// answer. The generic backend promises the reference's order of floating sums as well.
bool bit_equal(const std::string& backend, const ProblemLine& line, Content content) {
  const DType a = line.quantize != DType::undefined ? line.quantize : line.a;
  return backend == "generic" || content == Content::exact ||
         (is_integer8(a) && is_integer8(line.b));
}

struct Case {
  std::string file;
  std::string line;
};

// gtest names a failing parameter with it.
void PrintTo(const Case& c, std::ostream* out) { *out << c.line; }

// What the table of types gives: every pair of operands with a float8 type, packed and not, every
// output, every quantiser on the way.
std::vector<Case> cases_of_types() {
  std::vector<Case> cases;
  const auto add = [&](const std::string& line) { cases.push_back({"table", line}); };
  const auto word = [](DType dtype) { return std::string(info(dtype).short_name); };
  for (const DTypeInfo& row : kDTypes) {
    const bool operand = is_floating(row.dtype) || is_integer8(row.dtype);
    if (!operand) continue;
    const std::string t = word(row.dtype);
    add("scaled_mm int8:int8:" + t + " scale=token:channel 5x9x17");
    if (!is_wide(row.dtype)) {
      add("scaled_mm bf16:int8:bf16 scale=token:channel quantize=" + t +
          (row.dtype == DType::uint8 ? " azp" : "") + " 7x70x64");
    }
    for (const DType other : kFloat8Types) {
      const std::string f = word(other);
      add("scaled_mm " + t + ":" + f + ":fp32 scale=tensor:tensor 7x19x33");
      add("scaled_mm " + t + ":" + f + ":bf16 scale=token:channel prepacked 5x70x40");
      if (!is_float8(row.dtype) && row.dtype != DType::uint8) {
        add("scaled_mm " + f + ":" + t + ":fp32 scale=tensor:tensor 7x19x33");
      }
    }
  }
  return cases;
}

// And the table of granularities: each on the sides that have it.
std::vector<Case> cases_of_granularities() {
  std::vector<Case> cases;
  for (const GranularityInfo& row : kGranularities) {
    if (row.kind == Granularity::Kind::automatic) continue;
    const std::string name = to_string(Granularity{row.kind, 8, 16});
    const std::string a = row.not_of_a == nullptr ? name : "tensor";
    const std::string b = row.not_of_b == nullptr ? name : "tensor";
    for (const char* types : {"int8:int8:bf16", "e4m3fn:e5m2:fp32", "bf16:int8:bf16"}) {
      cases.push_back({"table", fmt::format("scaled_mm {} scale={}:{} 9x40x48", types, a, b)});
      cases.push_back(
          {"table", fmt::format("scaled_mm {} scale={}:{} prepacked 9x70x48", types, a, b)});
    }
  }
  return cases;
}

std::vector<Case> all_cases() {
  std::vector<Case> cases = cases_of_types();
  for (const Case& c : cases_of_granularities()) cases.push_back(c);
  for (const char* file : {"types", "scales", "epilogue", "grouped", "shapes", "layouts", "fused",
                           "rotated", "chunks"}) {
    for (const std::string& line : lines_of(file)) cases.push_back({file, line});
  }
  return cases;
}

class Parity : public testing::TestWithParam<Case> {};

void run_on(const MatmulProblem& problem, const std::string& backend) {
  ThreadExecutor executor(2);
  run(problem, {.executor = &executor}, backend.c_str());
}

void compare(const Case& c, Content content, GuardedSide side) {
  const ProblemLine line = parse_problem_line(c.line);
  Operands reference_operands(line, content, guarded(side));
  const LineProblem reference = make_problem(line, reference_operands);
  run_on(reference.problem(), "reference");
  if (content != Content::adversarial) {
    const kit::Verdict verdict = kit::compare_exact(reference.problem());
    EXPECT_LE(verdict.max_ratio, 1.0) << verdict.worst << '\n' << repro(c.line, "reference");
  }
  const std::vector<std::string> backends = accepting_backends(reference.problem());
  for (const std::string& backend : backends) {
    if (backend == "reference") continue;
    // Packed by the first backend, as users pack, and by the one that runs it.
    const bool own = line.prepacked && backend != backends.front();
    for (const char* packer : {backends.front().c_str(), own ? backend.c_str() : nullptr}) {
      if (packer == nullptr) continue;
      Operands operands(line, content, guarded(side));
      const LineProblem problem = make_problem(line, operands, packer);
      run_on(problem.problem(), backend);
      if (bit_equal(backend, line, content)) {
        EXPECT_TRUE(same_bits(problem.problem(), reference.problem())) << repro(c.line, backend);
      }
      if (content == Content::adversarial) continue;
      const kit::Verdict verdict = kit::compare_exact(problem.problem());
      EXPECT_LE(verdict.max_ratio, 1.0) << verdict.worst << '\n' << repro(c.line, backend);
    }
  }
}

TEST_P(Parity, GaussianBeforeAGuardPage) {
  compare(GetParam(), Content::gaussian, GuardedSide::right);
}
TEST_P(Parity, UniformAfterAGuardPage) { compare(GetParam(), Content::uniform, GuardedSide::left); }
TEST_P(Parity, ExactByConstruction) { compare(GetParam(), Content::exact, GuardedSide::right); }
TEST_P(Parity, Adversarial) { compare(GetParam(), Content::adversarial, GuardedSide::right); }

std::string hex(std::uint64_t value) {
  std::ostringstream text;
  text << std::hex << std::setw(16) << std::setfill('0') << value;
  return text.str();
}

// FNV-1a of a result's bits.
std::uint64_t hash_of(const MatmulProblem& problem) {
  std::uint64_t hash = 0xCBF29CE484222325U;
  for (const std::uint8_t byte : kit::output_bytes(problem)) hash = (hash ^ byte) * 0x100000001B3U;
  return hash;
}

// The same bits from every compiler and machine: results whose hash stands beside their line.
TEST(Bits, AreThoseOfEveryOtherBuild) {
  for (const std::string& row : lines_of("bits")) {
    const std::size_t space = row.find(' ');
    const std::string text = row.substr(space + 1);
    const ProblemLine line = parse_problem_line(text);
    Operands operands(line, Content::uniform);
    const LineProblem problem = make_problem(line, operands);
    run_on(problem.problem(), "generic");
    EXPECT_EQ(hex(hash_of(problem.problem())), row.substr(0, space)) << text;
  }
}

INSTANTIATE_TEST_SUITE_P(Lines, Parity, testing::ValuesIn(all_cases()),
                         [](const testing::TestParamInfo<Case>& test) {
                           std::string name = test.param.file + "_";
                           for (const char c : test.param.line) {
                             name += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
                           }
                           return name + "_" + std::to_string(test.index);
                         });

}  // namespace
}  // namespace octavo::test::parity_test
