// SPDX-License-Identifier: Apache-2.0
// What holds for every command: help under headings, short forms, defaults.
#include <algorithm>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "cli/cli.hpp"

namespace octavo::test {
namespace {

/// A line of an option in a command's help.
struct HelpLine {
  std::string heading, names, rest;  ///< "Output", "-t,--threads", " N [0]"

  bool has(const std::string& name) const {
    return ("," + names + ",").find("," + name + ",") != std::string::npos;
  }
  bool takes_a_value() const { return rest.starts_with(" "); }
  bool has_default() const { return rest.find(" [") != std::string::npos; }
  std::string long_name() const { return names.substr(names.find("--")); }
};

class EveryCommand : public Cli {
 protected:
  std::vector<std::string> commands() const {
    std::vector<std::string> names;
    const std::string script = octavo({"completion", "bash"}).out;
    const std::regex row(R"(\n    (?!help)([a-z]+)\) words=)");
    for (std::sregex_iterator i(script.begin(), script.end(), row), end; i != end; ++i) {
      names.push_back((*i)[1]);
    }
    return names;
  }

  std::vector<HelpLine> help_lines(const std::string& command) const {
    std::vector<HelpLine> lines;
    std::istringstream text(octavo({command, "--help"}).out);
    std::string heading;
    const std::regex option(
        R"(^  ((?:-\w,)?--[\w-]+)((?: [A-Z]+| \{[^}]*\})?(?:\[=[A-Z]+\])?(?: \[[^\]]*\])?(?: \(required\))?)(?:  .*)?$)");
    for (std::string line; std::getline(text, line);) {
      std::smatch match;
      if (std::regex_match(line, match, option)) {
        lines.push_back({heading, match[1], match[2]});
      } else if (line.starts_with("  -")) {
        ADD_FAILURE() << command << ": not read: " << line;
      } else if (line.ends_with(":") && !line.starts_with(" ")) {
        heading = line.substr(0, line.size() - 1);
      }
    }
    return lines;
  }
};

TEST_F(EveryCommand, HasHelpThatShowsHowItIsCalled) {
  ASSERT_GE(commands().size(), 13U);
  for (const std::string& command : commands()) {
    for (const auto& words : std::vector<std::vector<std::string>>{
             {command, "--help"}, {command, "-h"}, {"help", command}}) {
      const Outcome got = octavo(words);
      EXPECT_EQ(0, got.exit) << command;
      EXPECT_NE(std::string::npos, got.out.find("Usage: octavo " + command)) << got.out;
      EXPECT_EQ("", got.err);
    }
  }
}

TEST_F(EveryCommand, HasTheSameShortFormsUnderHeadings) {
  const std::map<std::string, std::string> short_forms{{"--json", "-j"},    {"--quiet", "-q"},
                                                       {"--threads", "-t"}, {"--out", "-o"},
                                                       {"--verbose", "-v"}, {"--help", "-h"}};
  const std::set<std::string> headings{"Which layers",    "How they are quantised", "What is done",
                                       "How it is timed", "Which machine",          "Output"};
  for (const std::string& command : commands()) {
    const std::vector<HelpLine> lines = help_lines(command);
    ASSERT_FALSE(lines.empty()) << command;
    for (const HelpLine& line : lines) {
      EXPECT_TRUE(headings.contains(line.heading))
          << command << ": " << line.names << " under " << line.heading;
      const auto form = short_forms.find(line.long_name());
      EXPECT_EQ(form == short_forms.end() ? line.long_name() : form->second + "," + form->first,
                line.names)
          << command;
    }
    for (const char* name : {"--verbose", "--help"}) {
      EXPECT_EQ(1, std::ranges::count_if(lines, [&](const HelpLine& l) { return l.has(name); }))
          << command;
    }
  }
}

TEST_F(EveryCommand, ShowsTheDefaultOfEachOptionThatHasOne) {
  // What is left out where it is not given.
  const std::set<std::string> without{"--layout", "--ignore", "--calibration", "--against",
                                      "--html",   "--device", "--backend",     "--out",
                                      "--to",     "--text"};
  for (const std::string& command : commands()) {
    for (const HelpLine& line : help_lines(command)) {
      if (!line.takes_a_value()) continue;
      const std::string name = line.long_name();
      EXPECT_NE(without.contains(name), line.has_default()) << command << " " << name << line.rest;
    }
  }
}

TEST_F(EveryCommand, TakesNoThreadsForAll) {
  for (const std::string& command : commands()) {
    for (const HelpLine& line : help_lines(command)) {
      if (!line.has("--threads")) continue;
      EXPECT_EQ(" N [0]", line.rest) << command;
    }
  }
  for (const char* threads : {"--threads=0", "-t0"}) {
    EXPECT_EQ(0, octavo({"bench", "--list", threads, "scaled_mm int8:int8:int32 2x3x4"}).exit);
  }
}

TEST_F(EveryCommand, IsCompletedWithItsOptions) {
  const std::string bash = octavo({"completion", "bash"}).out,
                    fish = octavo({"completion", "fish"}).out;
  for (const std::string& command : commands()) {
    const std::size_t begin = bash.find("    " + command + ") words=");
    const std::string row = bash.substr(begin, bash.find('\n', begin) - begin) + " ";
    EXPECT_TRUE(std::regex_search(bash, std::regex("help\\) words='[^']*\\b" + command + "\\b")))
        << command;
    for (const HelpLine& line : help_lines(command)) {
      const std::string name = line.long_name();
      EXPECT_TRUE(std::regex_search(row, std::regex("[' ]" + name + "[' ]"))) << command << name;
      const std::string letter =
          line.names.starts_with("--") ? "" : " -s " + line.names.substr(1, 1);
      EXPECT_NE(std::string::npos,
                fish.find("from " + command + "' -l " + name.substr(2) + letter + "\n"))
          << command << name;
    }
  }
}

TEST_F(EveryCommand, SaysOnRequestWhatIsChosen) {
  const std::vector<std::string> bench{"bench", "--check", "--backend=generic",
                                       "scaled_mm int8:int8:int32 2x3x4"};
  for (const std::size_t at :
       {std::size_t{0}, std::size_t{1}, bench.size()}) {  // before and behind the command
    for (const char* option : {"-v", "--verbose"}) {
      std::vector<std::string> words = bench;
      words.insert(words.begin() + static_cast<std::ptrdiff_t>(at), option);
      EXPECT_NE(std::string::npos, octavo(words).err.find("octavo: scaled_mm: generic, "))
          << option << at;
    }
  }
  EXPECT_EQ("", octavo(bench).err);
}

TEST_F(EveryCommand, IsListedUnderAHeading) {
  const Outcome bare = octavo({}), asked = octavo({"--help"});
  EXPECT_EQ(0, bare.exit);
  EXPECT_EQ(asked.out, bare.out);
  EXPECT_EQ("", bare.err);
  for (const std::string& command : commands()) {
    EXPECT_TRUE(std::regex_search(bare.out, std::regex("\n  " + command + "  +[A-Z]"))) << command;
  }
  EXPECT_EQ(std::string::npos, bare.out.find("Subcommands:")) << bare.out;
  EXPECT_EQ(octavo({"--version"}).out, octavo({"-V"}).out);
}

}  // namespace
}  // namespace octavo::test
