// SPDX-License-Identifier: Apache-2.0
// The first rows of a product have the bits that they have without the others, and those of the
// weight packed: a few rows read it in place, more pack it.
#include "kit/operands/operands.hpp"
#include "ops/helpers.hpp"
#include "support/lines.hpp"

namespace octavo::test::few_rows_test {
namespace {

// [m][n] of a line, packed or not; operands of fewer rows begin as those of more do.
std::vector<std::uint8_t> rows_of(const std::string& words, std::int64_t m, const std::string& rest,
                                  bool packed, int threads) {
  const std::string text = words + (packed ? " prepacked " : " ") + std::to_string(m) + rest;
  kit::Operands operands(parse_problem_line(text), kit::Content::gaussian);
  const LineProblem made = make_problem(parse_problem_line(text), operands);
  ThreadExecutor executor(threads);
  run(made.problem(), {.executor = &executor});
  return bytes_of(output(made.problem()));
}

TEST(FewRows, HaveTheBitsThatTheyHaveAmongMany) {
  constexpr std::int64_t kMost = 18;
  for (const char* types :
       {"int8:int8:fp32 scale=token:channel", "uint8:int8:fp32 scale=token:channel azp",
        "int8:int8:fp32 scale=group32:block32x32", "e4m3fn:e4m3fn:fp32 scale=token:channel",
        "e5m2:e4m3fn:fp32 scale=group128:block128x128", "e4m3fnuz:e5m2fnuz:fp32", "bf16:bf16:fp32",
        "bf16:int8:fp32", "bf16:e4m3fn:fp32", "fp16:fp16:fp32", "fp16:int8:fp32", "fp32:bf16:fp32",
        "fp32:fp32:fp32", "e4m3fn:e4m3fn:fp32 scale=mx:mx"}) {
    for (const char* layout : {"", " layout=row", " layout=strided"}) {
      for (const char* extents : {"x150x384", "x65x131", "x1100x64"}) {
        const bool groups = std::string(types).find("=group") != std::string::npos ||
                            std::string(types).find("=mx") != std::string::npos;
        if (groups && std::string(extents) == "x65x131") continue;  // of no whole groups
        const std::string words = std::string("scaled_mm ") + types + layout;
        const std::vector<std::uint8_t> all = rows_of(words, kMost, extents, true, 1);
        for (std::int64_t m = 1; m <= kMost; ++m) {
          const std::vector<std::uint8_t> few =
              rows_of(words, m, extents, false, static_cast<int>(m % 3 + 1));
          const bool same = std::equal(few.begin(), few.end(), all.begin());
          EXPECT_TRUE(same) << words << ' ' << m << extents;
        }
      }
    }
  }
}

}  // namespace
}  // namespace octavo::test::few_rows_test
