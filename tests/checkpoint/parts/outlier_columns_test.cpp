// SPDX-License-Identifier: Apache-2.0
// Calibrated outlier columns of LLM.int8(): in the configuration, in fused weights, in sentences.
#include <cmath>
#include <limits>
#include <random>

#include "checkpoint/support.hpp"

namespace octavo::test::outlier_columns_test {
namespace {

constexpr std::int64_t kN = 5, kK = 40;
using Columns = std::vector<std::int64_t>;

Columns columns_of(const Weight& weight) {
  const Tensor& list = weight.activation->outlier_columns;
  if (!list.defined()) return {};
  EXPECT_EQ(DType::int64, list.dtype());
  return {list.data_as<std::int64_t>(), list.data_as<std::int64_t>() + list.numel()};
}

class OutlierColumns : public Scratch {
 protected:
  void SetUp() override {
    std::mt19937 generator(1);
    std::normal_distribution<float> normal;
    std::vector<float> weight(kN * kK);
    for (float& w : weight) w = normal(generator);
    write_safetensors(path("in"), {stored("m.q.weight", "F32", {kN, kK}, weight),
                                   stored("m.k.weight", "F32", {kN, kK}, weight),
                                   stored("m.embed.weight", "F32", {kN, kK}, weight)});
  }
  QuantizeReport run(const QuantizeFileOptions& options) const {
    return quantize_file(path("in"), path("out"), options);
  }
  std::string config() const {
    return open_checkpoint(path("out")).metadata().at("quantization_config");
  }
  void expect_refused(std::string_view fragment, const QuantizeFileOptions& options) const {
    expect_error(Code::invalid_argument, fragment, [&] { run(options); });
    EXPECT_EQ(std::vector<std::string>{"in"}, listing());
  }
};

TEST_F(OutlierColumns, OfAFileAreReadBack) {
  run({.scheme = Scheme::llm_int8,
       .outlier_columns = {{"m.q", {0, 7, 39}}},
       .outlier_threshold = 3.5F,
       .whole_columns = true});
  const Checkpoint file = open_checkpoint(path("out"));
  EXPECT_EQ((Columns{0, 7, 39}), columns_of(file.weight("m.q")));
  EXPECT_EQ(Columns{}, columns_of(file.weight("m.k")));
  for (const char* layer : {"m.q", "m.k"}) {
    EXPECT_EQ(3.5F, file.weight(layer).activation->outlier_threshold);
    EXPECT_TRUE(file.weight(layer).activation->whole_columns);
  }
  EXPECT_EQ(3, pack(file.weight("m.q")).activation()->outlier_columns.numel());
}

TEST_F(OutlierColumns, ThatNobodyGivesLeaveTheConfigurationAsBitsandbytesWritesIt) {
  run({.scheme = Scheme::llm_int8});
  EXPECT_NE(std::string::npos, config().find("\"llm_int8_threshold\":6.0"));
  EXPECT_EQ(std::string::npos, config().find("columns"));
  const ActivationQuant rule = *open_checkpoint(path("out")).weight("m.q").activation;
  EXPECT_FALSE(rule.whole_columns);
  EXPECT_FALSE(rule.outlier_columns.defined());
}

TEST_F(OutlierColumns, ThresholdsKeepTheirBits) {
  for (const float threshold : {0.0F, 0.1F, 6.7F, std::nextafter(6.0F, 7.0F), 1e30F}) {
    run({.scheme = Scheme::llm_int8, .outlier_threshold = threshold});
    EXPECT_EQ(threshold, open_checkpoint(path("out")).weight("m.q").activation->outlier_threshold);
  }
}

TEST_F(OutlierColumns, OfLayersThatAreNotThereAreRefused) {
  expect_refused(
      "quantize_file: outlier_columns must name layers that are quantised; got 'm.p' (nearest: "
      "'m.",
      {.scheme = Scheme::llm_int8, .outlier_columns = {{"m.p", {1}}}});
  expect_refused("got 'm.embed'",
                 {.scheme = Scheme::llm_int8, .outlier_columns = {{"m.embed", {1}}}});
  expect_refused(
      "got 'm.q' (nearest: 'm.k')",
      {.scheme = Scheme::llm_int8, .ignore = {"m.q"}, .outlier_columns = {{"m.q", {1}}}});
}

TEST_F(OutlierColumns, ThatDoNotAscendInsideKAreRefused) {
  const struct {
    Columns columns;
    const char* got;
  } cases[] = {{{40}, "must ascend in [0, 40); got 40"},
               {{-1}, "got -1"},
               {{3, 3}, "got 3 behind 3"},
               {{3, 2}, "got 2 behind 3"},
               {{0, std::numeric_limits<std::int64_t>::max()}, "got 9223372036854775807 behind 0"}};
  for (const auto& row : cases) {
    expect_refused("quantize_file: outlier_columns of layer 'm.q' must ascend in [0, 40); got ",
                   {.scheme = Scheme::llm_int8, .outlier_columns = {{"m.q", row.columns}}});
    expect_refused(row.got,
                   {.scheme = Scheme::llm_int8, .outlier_columns = {{"m.q", row.columns}}});
  }
}

TEST_F(OutlierColumns, AreForLlmInt8AndThresholdsAreNumbers) {
  const char* const rule =
      "quantize_file: scheme must be llm-int8 for outlier_columns, outlier_threshold or "
      "whole_columns; got int8-dynamic";
  expect_refused(rule, {.outlier_columns = {{"m.q", {1}}}});
  expect_refused(rule, {.outlier_threshold = 6.0F});
  expect_refused(rule, {.whole_columns = true});
  for (const float bad :
       {-1.0F, std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    expect_refused("quantize_file: outlier_threshold must be a finite number not below 0; got ",
                   {.scheme = Scheme::llm_int8, .outlier_threshold = bad});
  }
}

TEST_F(OutlierColumns, OfAConfigurationThatIsWrongAreCorrupt) {
  const struct {
    const char* fields;
    const char* fragment;
  } cases[] = {
      {R"("llm_int8_outlier_columns":[1])",
       "'quantization_config'.llm_int8_outlier_columns must be an object with a list for each "
       "layer; got '[...]'"},
      {R"("llm_int8_outlier_columns":{"p":3})",
       ".llm_int8_outlier_columns['p'] must be a list of integers; got '3'"},
      {R"("llm_int8_outlier_columns":{"p":[1.5]})", "['p'] must hold integers; got '1.5'"},
      {R"("llm_int8_outlier_columns":{"p":[0,18446744073709551615]})",
       "['p'] must hold integers; got '18446744073709551615'"},
      {R"("llm_int8_outlier_columns":{"p":["1"]})", "['p'] must hold integers; got '1'"},
      {R"("llm_int8_outlier_columns":{"p":[0,4]})",
       "'quantization_config'.llm_int8_outlier_columns of layer 'p' must ascend in [0, "
       "4); got 4 behind 0"},
      {R"("llm_int8_outlier_columns":{"p":[2,1]})", "got 1 behind 2"},
      {R"("llm_int8_outlier_columns":{"p":[-3]})", "got -3"},
      {R"("llm_int8_whole_columns":1)", ".llm_int8_whole_columns must be true or false; got '1'"},
  };
  for (const auto& row : cases) {
    SCOPED_TRACE(row.fields);
    write_safetensors(path("x"),
                      {stored<std::int8_t>("p.weight", "I8", {1, 4}, {1, 2, 3, 4}),
                       stored<float>("p.SCB", "F32", {1}, {1})},
                      {{"quantization_config",
                        std::string(R"({"quant_method":"bitsandbytes",)") + row.fields + "}"}});
    expect_error(Code::corrupt_data, row.fragment, [&] { open_checkpoint(path("x")).weight("p"); });
  }
}

TEST_F(OutlierColumns, OfFusedWeightsAreUnited) {
  run({.scheme = Scheme::llm_int8, .outlier_columns = {{"m.q", {1, 7}}, {"m.k", {0, 7, 39}}}});
  const Checkpoint file = open_checkpoint(path("out"));
  const std::vector<Weight> shards{file.weight("m.q"), file.weight("m.k")};
  const Weight fused = fuse(shards);
  EXPECT_EQ((Columns{0, 1, 7, 39}), columns_of(fused));
  EXPECT_EQ(2 * kN, fused.absmax.numel());
  EXPECT_EQ((Columns{1, 7}), columns_of(shards[0]));
  Weight other = shards[1];
  other.activation->outlier_threshold = 5.0F;
  const std::vector<Weight> thresholds{shards[0], other};
  expect_error(Code::invalid_argument, "weights[1] must have the first one's activation rule",
               [&] { fuse(thresholds); });
  other = shards[1];
  other.activation->whole_columns = true;
  const std::vector<Weight> rules{shards[0], other};
  expect_error(Code::invalid_argument, "weights[1] must have the first one's activation rule",
               [&] { fuse(rules); });
  other = shards[1];
  other.absmax = {};
  const std::vector<Weight> maxima{shards[0], other};
  expect_error(Code::invalid_argument, "must have row maxima (absmax) where the first one has",
               [&] { fuse(maxima); });
}

}  // namespace
}  // namespace octavo::test::outlier_columns_test
