// SPDX-License-Identifier: Apache-2.0
// octavo explain and info: candidates, the build, what variables change.
#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/cli.hpp"

namespace octavo::test {
namespace {

TEST_F(Cli, ExplainShowsEveryCandidate) {
  const std::string line = "scaled_mm e4m3fn:e4m3fn:bf16 scale=token:channel bias 16x64x128";
  const Outcome got = octavo({"explain", line});
  EXPECT_EQ(0, got.exit) << got.err;
  EXPECT_TRUE(got.out.starts_with("scaled_mm ")) << got.out;

  const std::vector<json> objects = lines(octavo({"explain", line, "--json"}).out);
  ASSERT_GE(objects.size(), 2U);
  EXPECT_EQ((std::vector<std::string>{"accepts", "backend", "chosen", "reason", "type"}),
            fields(objects[0]));
  EXPECT_EQ(
      (std::vector<std::string>{"error_bound", "executor", "line", "type", "workspace_bytes"}),
      fields(objects.back()));
  const auto chosen = std::count_if(objects.begin(), objects.end() - 1,
                                    [](const json& o) { return o.at("chosen") == true; });
  EXPECT_EQ(1, chosen);
}

TEST_F(Cli, InfoNamesTheBuildAndTheBackends) {
  const Outcome got = octavo({"info"});
  EXPECT_EQ(0, got.exit);
  for (const char* text : {"compiled by", "cpu ", "executor", "backend"}) {
    EXPECT_NE(std::string::npos, got.out.find(text)) << text << "\n" << got.out;
  }
  const std::vector<json> objects = lines(octavo({"info", "--json"}).out);
  ASSERT_FALSE(objects.empty());
  EXPECT_EQ((std::vector<std::string>{"compiler", "cpu", "executor", "threads", "type", "version"}),
            fields(objects.back()));
  const auto backend = std::find_if(objects.begin(), objects.end(),
                                    [](const json& o) { return o.at("type") == "backend"; });
  ASSERT_NE(objects.end(), backend);
  EXPECT_EQ((std::vector<std::string>{"caches", "more", "name", "summary", "type", "unavailable",
                                      "usable", "uses"}),
            fields(*backend));
  // Backends whose kernels are chosen for the processor, and no others, cut products for its
  // caches.
  for (const json& object : objects) {
    if (object.at("type") != "backend") continue;
    const std::string caches = object.at("caches");
    EXPECT_EQ(object.at("uses").get<std::string>().empty(), caches.empty()) << object;
    EXPECT_NE(std::string::npos, got.out.find("; caches of " + caches)) << got.out;
  }
}

TEST_F(Cli, InfoListsTheVariables) {
  ::setenv("OCTAVO_LAPACK", "lib\033here.so", 1);  // NOLINT: one thread
  ::unsetenv("OCTAVO_BACKEND");                    // NOLINT: one thread
  const Outcome got = octavo({"info"});
  std::size_t count = 0;
  for (const json& object : lines(octavo({"info", "--json"}).out)) {
    if (object.at("type") != "variable") continue;
    ++count;
    const std::string name = object.at("name"), meaning = object.at("meaning");
    EXPECT_NE(std::string::npos, got.out.find("\n" + name + " ")) << name;
    EXPECT_NE(std::string::npos, got.out.find(meaning)) << name;
    const json value = name == "OCTAVO_LAPACK" ? json("lib\033here.so") : object.at("value");
    EXPECT_EQ(value, object.at("value"));
    if (name == "OCTAVO_BACKEND") {
      EXPECT_TRUE(value.is_null());
    }
  }
  EXPECT_GE(count, 9U);
  EXPECT_NE(std::string::npos, got.out.find("lib\\x1bhere.so")) << got.out;
  ::unsetenv("OCTAVO_LAPACK");  // NOLINT: one thread
}

// Variables are read once, so every value has a process of its own.
TEST_F(Cli, InfoSaysWhetherThreadsStayAwakeAndAnotherValueIsRefused) {
  if (octavo({"info"}).out.find("no oneTBB") != std::string::npos) GTEST_SKIP() << "no oneTBB";
  const struct {
    const char* value;
    const char* text;
  } rows[] = {{"", "arena, awake for 20 us after a call"},
              {"1", "arena, awake for 20 us after a call"},
              {"0", "arena, asleep after a call"},
              {"yes", "oneTBB, but OCTAVO_SPIN must be 0 or 1"}};
  for (const auto& row : rows) {
    ::setenv("OCTAVO_SPIN", row.value, 1);  // NOLINT: one thread
    EXPECT_NE(octavo({"info"}).out.find(row.text), std::string::npos) << row.value;
  }
  for (const char* verb : {"explain", "bench"}) {
    expect_failure(3,
                   std::string(verb[0] == 'e' ? "explain" : "scaled_mm") +
                       ": OCTAVO_SPIN must be 0 or 1; got 'yes'",
                   {verb, "scaled_mm int8:int8:int32 2x3x4"});
  }
  ::unsetenv("OCTAVO_SPIN");  // NOLINT: one thread
}

TEST_F(Cli, NumbersOfThreadsThatAreNoneAreRefused) {
  for (const char* value : {"many", "-4", "2.5", "99999999999999999999"}) {
    ::setenv("OCTAVO_NUM_THREADS", value, 1);  // NOLINT: one thread
    expect_failure(
        3,
        std::string("explain: OCTAVO_NUM_THREADS must be a number of at least 0; got '") + value +
            "'",
        {"explain", "scaled_mm int8:int8:int32 2x3x4"});
  }
  ::unsetenv("OCTAVO_NUM_THREADS");  // NOLINT: one thread
}

TEST_F(Cli, IsaCapsWhatIsUsedAndAnotherNameIsRefused) {
  ::setenv("OCTAVO_ISA", "baseline", 1);  // NOLINT: one thread
  for (const json& object : lines(octavo({"info", "--json"}).out)) {
    if (object.at("type") == "cpu_feature") {
      EXPECT_FALSE(object.at("present")) << object;
    } else if (object.at("type") == "backend" && object.at("usable")) {
      EXPECT_EQ("", object.at("uses")) << object;
    }
  }
  ::setenv("OCTAVO_ISA", "avx9", 1);  // NOLINT: one thread
  expect_failure(3, "explain: OCTAVO_ISA must be one of baseline",
                 {"explain", "scaled_mm int8:int8:int32 2x3x4"});
  ::unsetenv("OCTAVO_ISA");  // NOLINT: one thread
}

}  // namespace
}  // namespace octavo::test
