// SPDX-License-Identifier: Apache-2.0
// Problem lines on the command line: in quotes or not, in old spellings, and their grammar.
#include <sstream>
#include <string>
#include <vector>

#include "cli/cli.hpp"
#include "octavo/problem_line.hpp"

namespace octavo::test {
namespace {

using Words = std::vector<std::string>;

/// Lines of each operation.
const std::vector<std::string> kLines{
    "scaled_mm int8:int8:bf16 16x64x128",
    "scaled_mm e4m3fn:e4m3fn:bf16 scale=token:channel bias 2x3x4",
    "grouped_mm int8:int8:int32 groups=3+0+2 8x4x16",
    "scaled_grouped_mm int8:int8:bf16 scale=token:channel groups=3+2 8x4x16",
    "quantize bf16:e4m3fn scale=token 4x8",
    "fused_experts int8:int8:bf16 experts=4 topk=2 scale=token:channel 4x8x16"};

Words split(const std::string& line) {
  std::istringstream text(line);
  Words words;
  for (std::string word; text >> word;) words.push_back(word);
  return words;
}

TEST_F(Cli, LinesNeedNoQuotes) {
  Words quoted{"bench", "--list"}, bare = quoted, mixed = quoted;
  for (std::size_t i = 0; i < kLines.size(); ++i) {
    const Words words = split(kLines[i]);
    quoted.push_back(kLines[i]);
    bare.insert(bare.end(), words.begin(), words.end());
    if (i % 2 == 0) {
      mixed.push_back(kLines[i]);
    } else {
      mixed.insert(mixed.end(), words.begin(), words.end());
    }
    if (i > 1) continue;  // explain reads products
    Words explain{"explain"};
    explain.insert(explain.end(), words.begin(), words.end());
    const Outcome got = octavo(explain);
    EXPECT_EQ(0, got.exit) << got.err;
    EXPECT_EQ(octavo({"explain", kLines[i]}).out, got.out);
  }
  const Outcome got = octavo(quoted);
  EXPECT_EQ(0, got.exit) << got.err;
  EXPECT_EQ(got.out, octavo(bare).out);
  EXPECT_EQ(got.out, octavo(mixed).out);
  // What begins no line is a line of its own, with its sentence.
  expect_failure(3, "operation must be scaled_mm",
                 {"bench", "--list", kLines[0], "scaled_m int8:int8:bf16 2x3x4"});
  expect_failure(3, "words must be among",
                 {"bench", "--list", "scaled_mm", "int8:int8:bf16", "scaled_m", "2x3x4"});
}

TEST_F(Cli, OldSpellingsOfWordsAreReadWithANotice) {
  const std::string begin = "scaled_mm bf16:int8:bf16 ", end = " 4x8x16";
  const struct {
    const char *was, *is, *old_word, *word;
  } rows[] = {{"quantise=int8", "quantize=int8", "quantise=", "quantize="},
              {"quantize=int8 outlier_threshold=6", "quantize=int8 threshold=6",
               "outlier_threshold=", "threshold="},
              {"scale=tensor:none quantize=int8 static_scale=0.5",
               "scale=tensor:none quantize=int8 static=0.5", "static_scale=", "static="}};
  for (const auto& row : rows) {
    const Outcome now = octavo({"explain", begin + row.is + end});
    const Outcome old = octavo({"explain", begin + row.was + end});
    EXPECT_EQ(0, now.exit) << now.err;
    EXPECT_EQ("", now.err);
    EXPECT_EQ(now.out, old.out);
    EXPECT_EQ("octavo: warning: problem line: " + std::string(row.old_word) + " is " + row.word +
                  " from 1.0 on\n",
              old.err);
  }
  expect_failure(3, "words must stand once",
                 {"explain", begin + "quantize=int8 quantize=int8" + end});
}

TEST_F(Cli, OldSpellingsOfOptionsAreReadWithANotice) {
  const struct {
    const char *was, *is;
    Words value;
  } rows[] = {{"--outlier-threshold", "--threshold", {"4"}},
              {"--outlier-threshold=4", "--threshold=4", {}}};
  for (const auto& row : rows) {
    const auto run = [&](const char* option) {
      Words words{"quantize", model(), path("out"), "--scheme=llm-int8", "--overwrite", option};
      words.insert(words.end(), row.value.begin(), row.value.end());
      return octavo(words);
    };
    const Outcome now = run(row.is);
    const std::string bytes = slurp(path("out"));
    const Outcome old = run(row.was);
    EXPECT_EQ(0, now.exit) << now.err;
    EXPECT_EQ(0, old.exit) << old.err;
    EXPECT_EQ("octavo: warning: quantize: --outlier-threshold is --threshold from 1.0 on\n",
              old.err);
    EXPECT_EQ(bytes, slurp(path("out")));
  }
}

TEST_F(Cli, HelpHasTheGrammarOfLines) {
  const Outcome got = octavo({"help", "lines"});
  EXPECT_EQ(0, got.exit);
  EXPECT_EQ("", got.err);
  const auto has = [&](const std::string& text) {
    EXPECT_NE(std::string::npos, got.out.find(text)) << text << "\n" << got.out;
  };
  const std::vector<LineWordRule> words = problem_line_words();
  ASSERT_GE(words.size(), 20U);
  for (const LineWordRule& row : words) {
    has("\n" + std::string(row.word) + " ");
    has(std::string(row.rule));
  }
  for (const std::string_view operation : problem_line_operations()) has(std::string(operation));
  for (const char* word :
       {"quantize (bench)", "fused_experts (bench)", "power_of_two", "topk", "e4m3fnuz"})
    has(word);
  // Examples in it are lines.
  std::istringstream text(got.out);
  int examples = 0;
  for (std::string line; std::getline(text, line);) {
    if (!line.starts_with("  octavo explain ")) continue;
    ++examples;
    Words command = split(line);
    command.erase(command.begin());
    EXPECT_EQ(0, octavo(command).exit) << line;
  }
  EXPECT_GE(examples, 2);
  EXPECT_NE(std::string::npos, octavo({"--help"}).out.find("octavo help lines"));
}

}  // namespace
}  // namespace octavo::test
