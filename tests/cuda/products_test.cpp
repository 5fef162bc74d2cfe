// SPDX-License-Identifier: Apache-2.0
// Whole operations on tensor cores in the simulator: every problem line that the backends sm90 and
// sm80 take, on a device, against the reference.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "cuda/device_kit.hpp"
#include "cuda/product_kit.hpp"
#include "support/lines.hpp"

namespace octavo::test::products_test {
namespace {

using kit::Content;
using kit::Operands;

constexpr const char* kSm90 = "sm90";
constexpr const char* kSm80 = "sm80";

// Lines of one launch or a few, so that all run in seconds; what the backend refuses is left out
// here.
std::vector<std::string> taken_lines(const char* backend) {
  std::vector<std::string> all{
      // Outputs of 8 bits, and all that may stand behind the scales.
      "scaled_mm int8:int8:int8 scale=token:channel bias=bf16 alpha=0.75 beta=0.5 "
      "scale_result=vector 70x64x64",
      "scaled_mm e4m3fn:e4m3fn:e4m3fn scale=token:channel bias scale_result=0.375 9x65x400",
      "scaled_mm e5m2:e4m3fn:e5m2 scale=tensor:channel bias=fp16 beta=0.5 40x48x4224",
      "scaled_mm bf16:bf16:bf16 scale=none:none alpha=-1.5 beta=2 130x40x64",
      "scaled_mm bf16:int8:fp32 quantize=int8 threshold=0.5 scale=token:channel 5x70x90",
  };
  std::vector<const char*> files{"types",  "scales",  "epilogue", "grouped",
                                 "shapes", "layouts", "chunks"};
  if (backend == kSm90) {
    // K that is cut: by CTAs of a cluster, and in order by one that has all of it.
    for (const char* line : {"scaled_mm int8:int8:bf16 scale=token:channel bias 5x40x4100",
                             "scaled_mm e4m3fn:e4m3fn:bf16 scale=token:channel bias 3x24x4500",
                             "scaled_mm e4m3fn:e5m2:fp32 scale=tensor:tensor alpha=0.5 514x8x4224"})
      all.emplace_back(line);
    files.push_back("fused");  // of passes, which both backends have
  }
  for (const char* file : files) {
    for (const std::string& text : lines_of(file)) {
      const ProblemLine line = parse_problem_line(text);
      Operands operands(line, Content::gaussian);
      DeviceSource source(operands, kHopper);
      if (takes(backend, make_problem(line, source).problem())) all.push_back(text);
    }
  }
  return all;
}

class Sm90Products : public testing::TestWithParam<std::string> {};
class Sm80Products : public testing::TestWithParam<std::string> {};

TEST_P(Sm90Products, AreTheTensorCoresSumsFinishedByTheReference) {
  expect_product(kSm90, parse_problem_line(GetParam()));
}
TEST_P(Sm80Products, AreTheTensorCoresSumsFinishedByTheReference) {
  expect_product(kSm80, parse_problem_line(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(Lines, Sm90Products, testing::ValuesIn(taken_lines(kSm90)));
INSTANTIATE_TEST_SUITE_P(Lines, Sm80Products, testing::ValuesIn(taken_lines(kSm80)));

}  // namespace
}  // namespace octavo::test::products_test
