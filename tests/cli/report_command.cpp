// SPDX-License-Identifier: Apache-2.0
// octavo report: the fields of its JSON, and what it recommends.
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/cli.hpp"
#include "octavo/checkpoint.hpp"

namespace octavo::test {
namespace {

TEST_F(Cli, ReportSaysWhatEachSchemeWouldDo) {
  const Outcome got = octavo({"report", model(), "--json"});
  ASSERT_EQ(0, got.exit) << got.err;
  const json report = json::parse(got.out);
  EXPECT_EQ((std::vector<std::string>{"against", "calibration", "cpu", "file_bytes", "layers",
                                      "least_sqnr_db", "octavo", "path", "schemes", "speed",
                                      "threads", "type"}),
            fields(report));
  ASSERT_EQ(2U, report.at("layers").size());
  for (const json& layer : report.at("layers")) {
    EXPECT_EQ((std::vector<std::string>{"bytes", "columns", "dtype", "error", "histogram", "input",
                                        "name", "recommendation", "scheme", "schemes", "shape"}),
              fields(layer));
    EXPECT_EQ("none", layer.at("scheme"));
    EXPECT_EQ(512, layer.at("bytes"));
    ASSERT_EQ(kAllSchemes.size(), layer.at("schemes").size());
    EXPECT_EQ((std::vector<std::string>{"bytes_after", "max_error", "output_sqnr_db", "saturated",
                                        "scheme", "sqnr_db"}),
              fields(layer.at("schemes")[0]));
    int weights = 0;
    for (const int count : layer.at("histogram")) weights += count;
    EXPECT_EQ(32U, layer.at("histogram").size());
    EXPECT_EQ(128, weights);
    EXPECT_EQ(8U, layer.at("columns").at("top").size());
  }
  ASSERT_EQ(2U, report.at("speed").size());  // a row for each shape
  EXPECT_EQ(2 * (2 + kAllSchemes.size()), report.at("speed")[0].at("times").size());
}

// The geometric mean of a form's times over the numbers of rows.
double typical_us(const json& times, const std::string& form) {
  double logs = 0;
  int count = 0;
  for (const json& time : times) {
    if (time.at("form") != form) continue;
    logs += std::log(time.at("median_us").get<double>());
    ++count;
  }
  return std::exp(logs / count);
}

TEST_F(Cli, ReportSaysWhereItsChoiceIsSlowerThanBfloat16) {
  const Outcome got = octavo({"report", model(), "--json", "--least-sqnr", "0"});
  ASSERT_EQ(0, got.exit) << got.err;
  const json report = json::parse(got.out);
  for (const json& layer : report.at("layers")) {
    const json& choice = layer.at("recommendation");
    for (const json& speed : report.at("speed")) {
      if (speed.at("shape") != layer.at("shape")) continue;
      const json& times = speed.at("times");
      const bool slower =
          typical_us(times, "bfloat16") < typical_us(times, choice.at("choice").get<std::string>());
      EXPECT_EQ(slower, choice.at("reason").get<std::string>().starts_with("slower than bfloat16"))
          << choice;
    }
  }
}

TEST_F(Cli, ReportRecommendsByTheThreshold) {
  const auto choices = [&](std::vector<std::string> more) {
    std::vector<std::string> arguments{"report", path("model"), "--no-speed", "--json", "-t1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome got = octavo(arguments);
    EXPECT_EQ(0, got.exit) << got.err;
    const json report = json::parse(got.out);
    EXPECT_TRUE(report.at("speed").is_null());
    EXPECT_EQ(1, report.at("threads"));
    return report.at("layers")[0].at("recommendation");
  };
  model();
  EXPECT_EQ("int8-dynamic", choices({"--scheme", "int8-dynamic"}).at("choice"));
  const json none = choices({"--scheme", "int8-dynamic", "--least-sqnr", "200"});
  EXPECT_EQ("float", none.at("choice"));
  EXPECT_NE(std::string::npos, none.at("reason").get<std::string>().find("no scheme reaches"));
}

TEST_F(Cli, ReportRecommendsTheNearestOfTheSmallestSchemes) {
  model();
  const std::vector<std::string> as_many_bytes{"int8-dynamic", "fp8-dynamic"};
  for (const auto& order : {as_many_bytes, {as_many_bytes.rbegin(), as_many_bytes.rend()}}) {
    std::vector<std::string> words{"report", path("model"),  "--no-speed",
                                   "--json", "--least-sqnr", "0"};
    for (const std::string& scheme : order) words.insert(words.end(), {"--scheme", scheme});
    const Outcome got = octavo(words);
    ASSERT_EQ(0, got.exit) << got.err;
    const json report = json::parse(got.out);  // a loop over a part of a temporary is over nothing
    ASSERT_EQ(2U, report.at("layers").size());
    for (const json& layer : report.at("layers")) {
      const json &one = layer.at("schemes")[0], &other = layer.at("schemes")[1];
      ASSERT_EQ(one.at("bytes_after"), other.at("bytes_after"));
      ASSERT_NE(one.at("sqnr_db"), other.at("sqnr_db"));
      const auto sqnr = [](const json& scheme) {
        return scheme.at("sqnr_db").is_null() ? HUGE_VAL : scheme.at("sqnr_db").get<double>();
      };
      EXPECT_EQ((sqnr(one) > sqnr(other) ? one : other).at("scheme"),
                layer.at("recommendation").at("choice"))
          << layer;
    }
  }
}

TEST_F(Cli, ReportMeasuresAQuantizedModelAgainstItsFloatOne) {
  ASSERT_EQ(0, octavo({"quantize", model(), path("q"), "--scheme", "fp8-dynamic", "--quiet"}).exit);
  const Outcome alone = octavo({"report", path("q"), "--no-speed", "--json"});
  ASSERT_EQ(0, alone.exit) << alone.err;
  EXPECT_TRUE(json::parse(alone.out).at("layers")[0].at("error").is_null());
  const Outcome got =
      octavo({"report", path("q"), "--against", path("model"), "--no-speed", "--json"});
  ASSERT_EQ(0, got.exit) << got.err;
  const json report = json::parse(got.out);
  for (const json& layer : report.at("layers")) {
    EXPECT_EQ("fp8-dynamic", layer.at("scheme"));
    EXPECT_EQ(layer.at("schemes")[1].at("max_error"), layer.at("error").at("max_error"));
  }
  expect_failure(3, "must hold a float layer",
                 {"report", path("q"), "--against", path("q"), "--no-speed"});
}

}  // namespace
}  // namespace octavo::test
