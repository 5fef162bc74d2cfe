// SPDX-License-Identifier: Apache-2.0
// octavo quantize: what it sums up, takes of a calibration, and refuses.
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/cli.hpp"
#include "octavo/checkpoint.hpp"

namespace octavo::test {
namespace {

/// A calibration of Cli::model: columns 1 and 7 of up and 0 of down are outliers, the norm feeds
/// up.
void write_calibration(const std::string& path) {
  const auto floats = [](const std::vector<float>& values) {
    std::vector<std::byte> bytes(values.size() * sizeof(float));
    std::memcpy(bytes.data(), values.data(), bytes.size());
    return [bytes] { return bytes; };
  };
  std::vector<TensorToWrite> tensors;
  const auto add = [&](const std::string& name, std::vector<float> most) {
    const auto k = static_cast<std::int64_t>(most.size());
    tensors.push_back({name + ".column_min", "F32", {k}, floats(std::vector<float>(most.size()))});
    tensors.push_back({name + ".smooth", "F32", {k}, floats(std::vector<float>(most.size(), 2))});
    std::vector<float> hessian;
    for (std::size_t i = 0; i < most.size(); ++i) {
      for (std::size_t j = 0; j < most.size(); ++j) hessian.push_back(i == j ? 2.0F : 1.0F);
    }
    tensors.push_back({name + ".hessian", "F32", {k, k}, floats(hessian)});
    tensors.push_back({name + ".column_max", "F32", {k}, floats(most)});
  };
  std::vector<float> up(8, 1.0F), down(16, 1.0F);
  up[1] = up[7] = down[0] = 20.0F;
  add("up", up);
  add("down", down);
  write_safetensors(path, tensors,
                    {{"octavo_calibration",
                      R"({"version":1,"layers":{"up":{"threshold":6.0,"hessian":"up.hessian"},)"
                      R"("down":{"threshold":6.0,"hessian":"down.hessian"}},)"
                      R"("norms":{"norm":["up"]}})"}});
}

TEST_F(Cli, QuantizeSumsUp) {
  const Outcome got = octavo({"quantize", model(), path("out"), "--scheme", "FP8_DYNAMIC"});
  EXPECT_EQ(0, got.exit);
  EXPECT_EQ("", got.err);
  for (const char* text :
       {"2 layers quantised as fp8-dynamic, 2 tensors copied", "1.00 KiB -> 352 B",
        "11.000 bits per weight", "mean SQNR", "The 2 layers with the lowest"}) {
    EXPECT_NE(std::string::npos, got.out.find(text)) << text << "\n" << got.out;
  }
  EXPECT_EQ((std::vector<std::string>{"down", "up"}),
            open_checkpoint(path("out")).quantized_layers());
}

TEST_F(Cli, QuantizeIgnoresAndStaysQuiet) {
  const Outcome got = octavo({"quantize", model(), path("out"), "--scheme", "int8-dynamic",
                              "--ignore", "down", "--ignore", "re:no", "--quiet"});
  EXPECT_EQ(0, got.exit);
  EXPECT_EQ("", got.out + got.err);
  EXPECT_EQ(std::vector<std::string>{"up"}, open_checkpoint(path("out")).quantized_layers());
}

TEST_F(Cli, QuantizeTakesOutlierColumnsOfACalibration) {
  write_calibration(path("calibration"));
  const Outcome got =
      octavo({"quantize", model(), path("out"), "--scheme", "llm-int8", "--calibration",
              path("calibration"), "--threshold", "0", "--whole-columns"});
  EXPECT_EQ(0, got.exit) << got.err;
  const Checkpoint file = open_checkpoint(path("out"));
  const ActivationQuant up = *file.weight("up").activation;
  EXPECT_EQ(2, up.outlier_columns.numel());
  EXPECT_EQ(7, up.outlier_columns.data_as<std::int64_t>()[1]);
  EXPECT_EQ(0.0F, up.outlier_threshold);
  EXPECT_TRUE(up.whole_columns);
  EXPECT_EQ(1, file.weight("down").activation->outlier_columns.numel());
}

TEST_F(Cli, QuantizeSmoothsAndTakesHessians) {
  write_calibration(path("calibration"));
  const std::vector<std::string> words{
      "quantize",          model(),         path("out"), "--scheme", "W8A8", "--calibration",
      path("calibration"), "--smoothquant", "--gptq",    "--static"};
  std::vector<std::string> speaking = words;
  speaking.insert(speaking.end(), {"--damp", "0.05", "--json"});
  const std::vector<json> objects = lines(octavo(speaking).out);
  ASSERT_EQ(3U, objects.size());
  EXPECT_EQ("down", objects[0]["name"]);
  EXPECT_TRUE(objects[0]["output_error"].is_number());
  EXPECT_TRUE(objects[0]["nearest_output_error"].is_number());
  EXPECT_EQ(json({"norm"}), objects[2]["smoothed_norms"]);
  EXPECT_EQ(json({"down"}), objects[2]["unsmoothed_layers"]);
  EXPECT_TRUE(open_checkpoint(path("out")).contains("up.input_scale"));
  std::filesystem::remove(path("out"));
  const Outcome told = octavo(words);
  EXPECT_EQ(0, told.exit) << told.err;
  EXPECT_NE(std::string::npos, told.out.find("SmoothQuant    1 norm took factors; 1 layer behind"));
  EXPECT_NE(std::string::npos, told.out.find("GPTQ           output error"));
  std::vector<std::string> dry = words;
  dry.emplace_back("--dry-run");
  EXPECT_EQ(0, octavo(dry).exit);
}

TEST_F(Cli, QuantizeRefusesCalibrationsThatAreNone) {
  write_calibration(path("calibration"));
  const std::string in = model();
  const auto expect = [&](int exit, const char* fragment, std::vector<std::string> more,
                          const char* file = "calibration") {
    more.insert(more.begin(), {"quantize", in, path("out"), "--calibration", path(file)});
    expect_failure(exit, fragment, more);
    EXPECT_FALSE(std::filesystem::exists(path("out")));
  };
  expect(3, "calibration must come with", {"--scheme=W8A8"});
  expect(3, "scheme must be int8-dynamic, int8-weight-only or llm-int8 for gptq",
         {"--scheme=fp8-dynamic", "--gptq"});
  expect(2, "--smoothquant", {"--scheme=W8A8", "--smoothquant=2"});
  expect(2, "--smoothquant", {"--scheme=W8A8", "--smoothquant=half"});
  expect(2, "--damp", {"--scheme=W8A8", "--gptq", "--damp", "little"});
  expect(2, "--threshold", {"--scheme=llm-int8", "--threshold", "six"});
  expect(4, "none", {"--scheme=llm-int8"}, "none");
  expect(3, "must have metadata 'octavo_calibration'", {"--scheme=llm-int8"}, "model");
  std::ofstream(path("lists")) << R"({"up": [1, 7]})";
  expect(3, "lists", {"--scheme=llm-int8"}, "lists");
  ::setenv("OCTAVO_LAPACK", "libnone.so", 1);  // NOLINT: one thread
  expect(3, "gptq must have LAPACK (apt-get install libopenblas0", {"--scheme=W8A8", "--gptq"});
  ::setenv("OCTAVO_LAPACK", "libm.so.6", 1);  // NOLINT: one thread
  expect(3, "libm.so.6 without dpotrf_", {"--scheme=W8A8", "--gptq"});
  ::unsetenv("OCTAVO_LAPACK");  // NOLINT: one thread
}

TEST_F(Cli, QuantizeLeavesExactLayersOutOfTheMean) {
  const auto codes = [](float step, float more) {
    std::vector<std::byte> bytes(8 * 255 * sizeof(float));
    for (int i = 0; i < 8 * 255; ++i) {
      const float value = static_cast<float>(i % 255 - 127) * step + (i % 255 == 100 ? more : 0.0F);
      std::memcpy(bytes.data() + static_cast<std::size_t>(i) * sizeof value, &value, sizeof value);
    }
    return [bytes] { return bytes; };
  };
  write_safetensors(path("model"), {{"exact.weight", "F32", {8, 255}, codes(0.0078125F, 0.0F)},
                                    {"other.weight", "F32", {8, 255}, codes(0.0078125F, 0.003F)}});
  const std::vector<json> objects =
      lines(octavo({"quantize", path("model"), path("out"), "--scheme=W8A8", "--json"}).out);
  ASSERT_EQ(3U, objects.size());
  EXPECT_TRUE(objects[0].at("sqnr_db").is_null()) << objects[0];
  EXPECT_TRUE(objects[1].at("sqnr_db").is_number()) << objects[1];
  EXPECT_EQ(objects[1].at("sqnr_db"), objects[2].at("mean_sqnr_db"));
}

/// What the table says of bytes is what files have, and help has a line of each scheme.
TEST_F(Cli, SchemesAreWhatQuantizeWrites) {
  constexpr std::int64_t kN = 256, kK = 384;
  Tensor weight = Tensor::empty(DType::float32, {kN, kK});
  for (std::int64_t i = 0; i < weight.numel(); ++i) {
    weight.data_as<float>()[i] = static_cast<float>(i * 37 % 101) / 101.0F;
  }
  const auto* bytes = weight.data_as<std::byte>();
  write_safetensors(path("in"), {{"up.weight", "F32", {kN, kK}, [&] {
                                    return std::vector<std::byte>(bytes, bytes + 4 * kN * kK);
                                  }}});
  const std::string table = octavo({"schemes"}).out, help = octavo({"quantize", "--help"}).out;
  const std::vector<json> rows = lines(octavo({"schemes", "--json"}).out);
  ASSERT_GE(rows.size(), 4U);
  for (const json& row : rows) {
    const std::string name = row.at("name");
    const auto per_scale = [&](const char* field, std::int64_t all) {
      const std::int64_t extent = row.at(field);
      return (all + (extent == 0 ? all : extent) - 1) / (extent == 0 ? all : extent);
    };
    const Outcome got =
        octavo({"quantize", path("in"), path("out"), "--overwrite", "--json", "--scheme", name});
    ASSERT_EQ(0, got.exit) << got.err;
    const json layer = lines(got.out).front();
    EXPECT_EQ(kN * kK + row.at("scale_bytes").get<std::int64_t>() * per_scale("rows_of_scale", kN) *
                            per_scale("columns_of_scale", kK),
              layer.at("bytes_after").get<std::int64_t>())
        << name;
    for (const char* field : {"weight", "activations", "loaders"}) {
      for (const std::string& text : {table, help}) {
        EXPECT_NE(std::string::npos, text.find(row.at(field).get<std::string>())) << name << text;
      }
    }
    EXPECT_NE(std::string::npos, help.find("\n  " + name + " ")) << help;
  }
  // The message of a wrong name lists all of them.
  const std::string refusal = octavo({"quantize", "a", "b", "--scheme", "none"}).err;
  for (const json& row : rows) {
    EXPECT_NE(std::string::npos, refusal.find(row.at("name").get<std::string>())) << refusal;
  }
}

TEST_F(Cli, QuantizeSpeaksJson) {
  const Outcome got = octavo({"quantize", model(), path("out"), "--scheme", "llm-int8", "--json"});
  EXPECT_EQ(0, got.exit);
  const std::vector<json> objects = lines(got.out);
  ASSERT_EQ(3U, objects.size());
  EXPECT_EQ("layer", objects[0].at("type"));
  EXPECT_EQ((std::vector<std::string>{"bytes_after", "bytes_before", "k", "max_error", "n", "name",
                                      "saturated", "sqnr_db", "type"}),
            fields(objects[0]));
  EXPECT_EQ("summary", objects[2].at("type"));
  EXPECT_EQ(
      (std::vector<std::string>{"bits_per_weight", "file_bytes_after", "file_bytes_before", "in",
                                "layer_bytes_after", "layer_bytes_before", "layers", "max_error",
                                "mean_sqnr_db", "out", "saturated", "scheme", "smoothed_norms",
                                "tensors_copied", "type", "unsmoothed_layers", "warnings"}),
      fields(objects[2]));
  EXPECT_TRUE(objects[2].at("warnings").empty());
  EXPECT_EQ(2, objects[2].at("layers"));
  EXPECT_EQ("llm-int8", objects[2].at("scheme"));
  EXPECT_EQ(static_cast<std::int64_t>(std::filesystem::file_size(path("out"))),
            objects[2].at("file_bytes_after"));
}

}  // namespace
}  // namespace octavo::test
