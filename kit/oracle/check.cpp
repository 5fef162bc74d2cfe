// SPDX-License-Identifier: Apache-2.0
// Checking a backend on a line.
#include "kit/oracle/check.hpp"

#include <algorithm>
#include <cstring>

#include "kit/operands/element.hpp"
#include "kit/operands/operands.hpp"
#include "kit/operands/work.hpp"
#include "kit/oracle/oracle.hpp"
#include "octavo/matmul.hpp"

namespace octavo::kit {
namespace {

constexpr double kReferenceWork = 5e8;  // operations that the reference backend may be asked for
constexpr double kOracleWork = 4e8;

void append(const TensorView& out, std::vector<std::uint8_t>& bytes) {
  const auto size = static_cast<std::size_t>(element_bytes(out.dtype));
  for (std::int64_t i = 0; i < out.numel(); ++i) {
    std::int64_t rest = i;
    std::int64_t offset = 0;
    for (std::size_t d = static_cast<std::size_t>(out.rank); d-- > 0;) {
      offset += rest % out.shape[d] * out.strides[d];
      rest /= out.shape[d];
    }
    const auto* element = static_cast<const std::uint8_t*>(out.at(offset));
    const double value = load(out, offset);
    for (std::size_t b = 0; b < size; ++b) bytes.push_back(value != value ? 0xFF : element[b]);
  }
}

}  // namespace

bool integer_line(const ProblemLine& line) {
  const DType a = line.quantize != DType::undefined ? line.quantize : line.a;
  return is_integer8(a) && is_integer8(line.b);
}

bool same_bytes(const Tensor& a, const Tensor& b) {
  const auto bytes = [](const Tensor& t) {
    return t.defined() ? static_cast<std::size_t>(t.numel() * element_bytes(t.dtype())) : 0;
  };
  return bytes(a) == bytes(b) && (bytes(a) == 0 || std::memcmp(a.data(), b.data(), bytes(a)) == 0);
}

std::vector<std::uint8_t> output_bytes(const MatmulProblem& p) {
  std::vector<std::uint8_t> bytes;
  if (p.groups.split != Split::list) {
    append(output(p), bytes);
  } else {
    for (const Member& member : p.groups.list) append(static_cast<TensorView>(member.out), bytes);
  }
  return bytes;
}

CheckResult check(const ProblemLine& line, const std::string& backend,
                  const CheckOptions& options) {
  CheckResult result;
  result.backend = backend;
  const auto fail = [&](std::string sentence) {
    result.passed = false;
    if (result.failure.empty()) result.failure = std::move(sentence);
  };
  Operands operands(line, Content::gaussian);
  const LineProblem problem = make_problem(line, operands, backend.c_str());
  run(problem.problem(), {}, backend.c_str());
  const double ops = work_of(problem.problem()).ops;
  const double rows = static_cast<double>(std::max<std::int64_t>(line.m, 1));
  const auto limit = static_cast<std::int64_t>(std::max(1.0, rows * kOracleWork / ops));
  const Verdict verdict = compare_exact(problem.problem(), ops > kOracleWork ? limit : 0);
  result.max_error_ratio = verdict.max_ratio;
  if (!(verdict.max_ratio <= 1.0)) fail("beyond the error bound: " + verdict.worst);

  const std::vector<std::uint8_t> bits = output_bytes(problem.problem());
  if (backend != "reference" && ops <= kReferenceWork) {
    Operands same(line, Content::gaussian);
    const LineProblem reference = make_problem(line, same);
    run(reference.problem(), {}, "reference");
    result.reference_compared = true;
    result.matches_reference = output_bytes(reference.problem()) == bits;
    if (integer_line(line) && !result.matches_reference) {
      fail("an integer product must match the reference bit for bit");
    }
  }
  if (options.bitwise) {
    for (const int threads : {1, 2, 3}) {
      ThreadExecutor executor(threads);
      Operands same(line, Content::gaussian);
      const LineProblem again = make_problem(line, same);
      run(again.problem(), {.executor = &executor}, backend.c_str());
      if (output_bytes(again.problem()) != bits) {
        fail("other bits on " + std::to_string(threads) + " threads than on the default executor");
      }
    }
  }
  return result;
}

}  // namespace octavo::kit
