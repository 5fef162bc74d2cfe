// SPDX-License-Identifier: Apache-2.0
// The program as a whole: help, exit codes, one sentence for each failure, completion.
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "cli/cli.hpp"

namespace octavo::test {
namespace {

TEST_F(Cli, TheVersionIsPrinted) {
  const Outcome version = octavo({"--version"});
  EXPECT_EQ(0, version.exit);
  EXPECT_TRUE(version.out.starts_with("octavo ")) << version.out;
}

TEST_F(Cli, HelpAndCompletionKnowEveryCommand) {
  const Outcome all = octavo({"help"}), one = octavo({"help", "convert"});
  EXPECT_EQ(0, all.exit);
  EXPECT_NE(std::string::npos, one.out.find("--to")) << one.out;
  EXPECT_TRUE(octavo({"completion", "zsh"}).out.starts_with("#compdef octavo\n"));  // for compinit
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const Outcome script = octavo({"completion", shell});
    EXPECT_EQ(0, script.exit);
    for (const char* word : {"quantize", "dequantize", "compare", "scheme", "help", "lines"}) {
      EXPECT_NE(std::string::npos, script.out.find(word)) << shell;
    }
  }
}

TEST_F(Cli, WrongUsageIsTwo) {
  expect_failure(2, "command frobnicate is unknown (", {"frobnicate"});
  expect_failure(2, "command quantise is unknown: did you mean quantize?", {"quantise", "a", "b"});
  expect_failure(2, "option --frobnicate is unknown (octavo info --help", {"info", "--frobnicate"});
  expect_failure(2, "option --schema is unknown: did you mean --scheme?",
                 {"quantize", "in", "out", "--schema=W8A8"});
  expect_failure(2, "argument more is unknown (octavo info --help", {"info", "more"});
  expect_failure(2, "PATH is required (octavo inspect --help says more)", {"inspect"});
  expect_failure(2, "option -x is unknown (octavo inspect --help says more)", {"inspect", "-x"});
  expect_failure(2, "help knows no lins: did you mean lines?", {"help", "lins"});
  expect_failure(2, "help knows no frobnicate (octavo --help lists", {"help", "frobnicate"});
  expect_failure(2, "help explains a command or topic at a time; got more",
                 {"help", "lines", "more"});
  expect_failure(2, "did you mean fp8-dynamic?",
                 {"quantize", "in", "out", "--scheme", "fp8-dynamc"});
  expect_failure(2, "--to", {"convert", "in", "out", "--to", "gguf"});
  expect_failure(2, "OUT is required", {"quantize", "in", "--scheme", "llm-int8"});
  expect_failure(2, "--scheme: must be one of int8-dynamic, fp8-dynamic, fp8-block, llm-int8",
                 {"quantize", "in", "out", "--scheme", "int\n4"});
}

TEST_F(Cli, BadInputIsThree) {
  std::ofstream(path("bad")) << "this is no safetensors file";
  expect_failure(3, "header.length must be at most", {"inspect", path("bad")});
  expect_failure(3, "header.length", {"quantize", path("bad"), path("out"), "--scheme", "W8A8"});
  expect_failure(3, "must be a regular expression",
                 {"quantize", model(), path("out"), "--scheme", "W8A8", "--ignore", "re:["});
  expect_failure(3, "", {"explain", "no such problem"});
  expect_failure(3, "", {"explain", "scaled_mm int8:int8:fp32 2x2x2", "--backend=none"});
  EXPECT_FALSE(std::filesystem::exists(path("out")));
}

TEST_F(Cli, AMissingResourceIsFour) {
  expect_failure(4, "cannot open file", {"inspect", path("none")});
  expect_failure(4, "cannot open file", {"quantize", path("none"), path("out"), "--scheme=W8A8"});
  expect_failure(4, "cannot open the directory",
                 {"quantize", model(), path("none/out"), "--scheme=W8A8"});
  const Outcome full = octavo({"inspect", model()}, "/dev/full");
  EXPECT_EQ(4, full.exit);
  EXPECT_TRUE(full.err.starts_with("octavo: cannot write the output")) << full.err;
}

}  // namespace
}  // namespace octavo::test
