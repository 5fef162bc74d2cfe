// SPDX-License-Identifier: Apache-2.0
// Random problem lines: every backend against the reference and against the exact oracle.
#include <gtest/gtest.h>

#include "kit/oracle/oracle.hpp"
#include "octavo/octavo.hpp"
#include "support/draw.hpp"
#include "support/draw_line.hpp"
#include "support/lines.hpp"

namespace octavo::test::property_test {
namespace {

using kit::Content;

// Where a result has one right set of bits; see the parity tests.
bool bit_equal(const std::string& backend, const ProblemLine& line, Content content) {
  const DType a = line.quantize != DType::undefined ? line.quantize : line.a;
  return backend == "generic" || content == Content::exact ||
         (is_integer8(a) && is_integer8(line.b));
}

void check_exact(const MatmulProblem& problem, const std::string& text, const char* backend) {
  const kit::Verdict verdict = kit::compare_exact(problem);
  if (verdict.max_ratio > 1.0) {
    RC_FAIL(verdict.worst + " in\n  " + text + "\n" + repro(text, backend));
  }
}

void check_line(const ProblemLine& drawn, Content content) {
  const std::string text = to_string(drawn);
  RC_LOG() << text << '\n';
  const ProblemLine line = parse_problem_line(text);
  RC_ASSERT(to_string(line) == text);
  ThreadExecutor executor(2);
  const ExecContext context{.executor = &executor};
  kit::Operands reference_operands(line, content);
  const LineProblem reference = make_problem(line, reference_operands);
  run(reference.problem(), context, "reference");
  if (content != Content::adversarial) check_exact(reference.problem(), text, "reference");
  for (const std::string& backend : accepting_backends(reference.problem())) {
    if (backend == "reference") continue;
    kit::Operands operands(line, content);
    const LineProblem made = make_problem(line, operands);
    run(made.problem(), context, backend.c_str());
    if (bit_equal(backend, line, content)) {
      const testing::AssertionResult same = same_bits(made.problem(), reference.problem());
      if (!same) {
        RC_FAIL(std::string(same.message()) + " in\n  " + text + "\n" +
                repro(text, backend.c_str()));
      }
    }
    if (content != Content::adversarial) {
      check_exact(made.problem(), text, backend.c_str());
    }
  }
}

TEST(Property, RandomProblemLinesAgreeWithBothOracles) {
  configure();
  EXPECT_TRUE(rc::check("every backend agrees with the reference and with float64", [] {
    const ProblemLine line = draw_line();
    const Content content = one_of<Content>(
        {Content::gaussian, Content::exact, Content::uniform, Content::adversarial});
    check_line(line, content);
  }));
}

}  // namespace
}  // namespace octavo::test::property_test
