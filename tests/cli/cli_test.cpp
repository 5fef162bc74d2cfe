// SPDX-License-Identifier: Apache-2.0
// The built program: exit codes, one sentence for each failure, JSON with the documented fields.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "octavo/checkpoint.hpp"

extern char** environ;  // NOLINT: POSIX

namespace octavo::test {
namespace {

using nlohmann::json;

struct Outcome {
  int exit;
  std::string out, err;
};

std::string slurp(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

class Cli : public ::testing::Test {
 protected:
  Cli() {
    std::string pattern = (std::filesystem::temp_directory_path() / "octavo-cli-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    folder_ = pattern;
  }
  ~Cli() override {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  /// Runs the program without a shell; `stdout_path` empty: captured.
  Outcome octavo(std::vector<std::string> arguments, const std::string& stdout_path = {}) const {
    const std::string out = stdout_path.empty() ? path("stdout") : stdout_path;
    const std::string err = path("stderr");
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    constexpr int kFlags = O_WRONLY | O_CREAT | O_TRUNC;
    ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, out.c_str(), kFlags, 0600);
    ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, err.c_str(), kFlags, 0600);
    arguments.insert(arguments.begin(), "octavo");
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    pid_t child = 0;
    const int failed = ::posix_spawn(&child, OCTAVO_CLI, &actions, nullptr, argv.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    if (failed != 0) throw std::runtime_error("cannot run " OCTAVO_CLI);
    int status = 0;
    ::waitpid(child, &status, 0);
    const int exit = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return {exit, stdout_path.empty() ? slurp(out) : std::string(), slurp(err)};
  }

  void expect_failure(int exit, const std::string& fragment,
                      const std::vector<std::string>& arguments) const {
    const Outcome got = octavo(arguments);
    EXPECT_EQ(exit, got.exit) << got.err;
    EXPECT_NE(std::string::npos, got.err.find(fragment)) << got.err;
    EXPECT_TRUE(got.err.starts_with("octavo: ")) << got.err;
    EXPECT_EQ(1, std::count(got.err.begin(), got.err.end(), '\n')) << got.err;
    EXPECT_TRUE(got.err.ends_with('\n')) << got.err;
  }

  /// The objects of an output with one on each line.
  static std::vector<json> lines(const std::string& text) {
    std::vector<json> objects;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) objects.push_back(json::parse(line));
    return objects;
  }

  static std::vector<std::string> fields(const json& object) {
    std::vector<std::string> names;
    for (const auto& [name, value] : object.items()) names.push_back(name);
    return names;
  }

  /// Two linear layers, a norm and an embedding.
  std::string model() const {
    const auto floats = [](std::vector<std::int64_t> shape) {
      std::int64_t count = 1;
      for (const std::int64_t extent : shape) count *= extent;
      std::vector<std::byte> bytes(static_cast<std::size_t>(count) * sizeof(float));
      for (std::int64_t i = 0; i < count; ++i) {
        const float value = static_cast<float>(i % 17) / 16.0F - 0.5F;
        std::memcpy(bytes.data() + static_cast<std::size_t>(i) * sizeof value, &value,
                    sizeof value);
      }
      return [bytes] { return bytes; };
    };
    write_safetensors(path("model"),
                      {{"embed.weight", "F32", {4, 8}, floats({4, 8})},
                       {"norm.weight", "F32", {8}, floats({8})},
                       {"up.weight", "F32", {16, 8}, floats({16, 8})},
                       {"down.weight", "F32", {8, 16}, floats({8, 16})}},
                      {{"format", "pt"}});
    return path("model");
  }

  /// A calibration of it: columns 1 and 7 of up and 0 of down are outliers, the norm feeds up.
  void write_calibration() const {
    const auto floats = [](const std::vector<float>& values) {
      std::vector<std::byte> bytes(values.size() * sizeof(float));
      std::memcpy(bytes.data(), values.data(), bytes.size());
      return [bytes] { return bytes; };
    };
    std::vector<TensorToWrite> tensors;
    const auto add = [&](const std::string& name, std::vector<float> most) {
      const auto k = static_cast<std::int64_t>(most.size());
      tensors.push_back(
          {name + ".column_min", "F32", {k}, floats(std::vector<float>(most.size()))});
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
    write_safetensors(path("calibration"), tensors,
                      {{"octavo_calibration",
                        R"({"version":1,"layers":{"up":{"threshold":6.0,"hessian":"up.hessian"},)"
                        R"("down":{"threshold":6.0,"hessian":"down.hessian"}},)"
                        R"("norms":{"norm":["up"]}})"}});
  }

  std::filesystem::path folder_;
};

TEST_F(Cli, HelpAndVersionAreGood) {
  for (const auto& arguments : std::vector<std::vector<std::string>>{{"--help"},
                                                                     {"quantize", "--help"},
                                                                     {"inspect", "--help"},
                                                                     {"explain", "-h"},
                                                                     {"info", "--help"}}) {
    const Outcome got = octavo(arguments);
    EXPECT_EQ(0, got.exit);
    EXPECT_NE(std::string::npos, got.out.find("Usage: octavo")) << got.out;
    EXPECT_EQ("", got.err);
  }
  const Outcome version = octavo({"--version"});
  EXPECT_EQ(0, version.exit);
  EXPECT_TRUE(version.out.starts_with("octavo ")) << version.out;
}

TEST_F(Cli, WrongUsageIsTwo) {
  expect_failure(2, "a subcommand is required", {});
  expect_failure(2, "command frobnicate is unknown (", {"frobnicate"});
  expect_failure(2, "command quantise is unknown: did you mean quantize?", {"quantise", "a", "b"});
  expect_failure(2, "option --frobnicate is unknown (octavo info --help", {"info", "--frobnicate"});
  expect_failure(2, "option --schema is unknown: did you mean --scheme?",
                 {"quantize", "in", "out", "--schema=W8A8"});
  expect_failure(2, "argument more is unknown (octavo info --help", {"info", "more"});
  expect_failure(2, "PATH is required", {"inspect"});
  expect_failure(2, "did you mean fp8-dynamic?",
                 {"quantize", "in", "out", "--scheme", "fp8-dynamc"});
  expect_failure(2, "--to", {"convert", "in", "out", "--to", "gguf"});
  expect_failure(2, "OUT is required", {"quantize", "in", "--scheme", "llm-int8"});
  expect_failure(2, "--scheme is required", {"quantize", "in", "out"});
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
  write_calibration();
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
  write_calibration();
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
  const Outcome told = octavo(words);
  EXPECT_EQ(0, told.exit) << told.err;
  EXPECT_NE(std::string::npos, told.out.find("SmoothQuant    1 norm took factors; 1 layer behind"));
  EXPECT_NE(std::string::npos, told.out.find("GPTQ           output error"));
  std::vector<std::string> dry = words;
  dry.emplace_back("--dry-run");
  EXPECT_EQ(0, octavo(dry).exit);
}

TEST_F(Cli, QuantizeRefusesCalibrationsThatAreNone) {
  write_calibration();
  const std::string in = model();
  const auto expect = [&](int exit, const char* fragment, std::vector<std::string> more,
                          const char* file = "calibration") {
    more.insert(more.begin(), {"quantize", in, path("out"), "--calibration", path(file)});
    expect_failure(exit, fragment, more);
    EXPECT_FALSE(std::filesystem::exists(path("out")));
  };
  expect(3, "calibration must come with", {"--scheme=W8A8"});
  expect(3, "scheme must be int8-dynamic or llm-int8 for gptq", {"--scheme=fp8-dynamic", "--gptq"});
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

TEST_F(Cli, InspectShowsTensorsLayersAndMetadata) {
  ASSERT_EQ(0, octavo({"quantize", model(), path("out"), "--scheme", "fp8-block"}).exit);
  const Outcome got = octavo({"inspect", path("out")});
  EXPECT_EQ(0, got.exit);
  for (const char* text : {"up.weight_scale_inv", "[16, 8]", "F8_E4M3", "fp8-block", "block128x128",
                           "format: pt", "6 tensors, 2 quantised layers"}) {
    EXPECT_NE(std::string::npos, got.out.find(text)) << text << "\n" << got.out;
  }
}

TEST_F(Cli, InspectSpeaksJson) {
  ASSERT_EQ(0, octavo({"quantize", model(), path("out"), "--scheme", "int8-dynamic"}).exit);
  const std::vector<json> objects = lines(octavo({"inspect", path("out"), "--json"}).out);
  ASSERT_EQ(6U + 2U + 1U, objects.size());
  EXPECT_EQ((std::vector<std::string>{"begin", "bytes", "dtype", "file", "name", "shape", "type"}),
            fields(objects[0]));
  EXPECT_EQ((std::vector<std::string>{"dtype", "granularity", "name", "scales", "scheme", "type"}),
            fields(objects[6]));
  EXPECT_EQ("channel", objects[6].at("granularity"));
  EXPECT_EQ((std::vector<std::string>{"bytes", "declared_in", "files", "metadata", "path",
                                      "quantized_layers", "tensors", "type", "warnings"}),
            fields(objects[8]));
  EXPECT_EQ("pt", objects[8].at("metadata").at("format"));
}

// A folder through every command that takes one.
TEST_F(Cli, FoldersGoInAndComeOut) {
  std::filesystem::create_directories(path("in"));
  std::filesystem::rename(model(), path("in/model.safetensors"));
  std::ofstream(path("in/config.json")) << "{\n  \"model_type\": \"x\"\n}\n";
  EXPECT_EQ(0, octavo({"verify", path("in")}).exit);
  for (const char* scheme : {"int8-dynamic", "fp8-dynamic", "fp8-block", "llm-int8"}) {
    SCOPED_TRACE(scheme);
    for (const char* out : {"q", "c", "f"}) std::filesystem::remove_all(path(out));
    const Outcome got = octavo(
        {"quantize", path("in"), path("q"), "--scheme", scheme, "--progress=json", "--threads=2"});
    ASSERT_EQ(0, got.exit) << got.err;
    const json last = lines(got.err).back();
    EXPECT_EQ("progress", last.at("type"));
    EXPECT_EQ(last.at("total"), last.at("done"));
    EXPECT_NE(std::string::npos, slurp(path("q/config.json")).find("quantization_config"));
    EXPECT_EQ(0, octavo({"verify", path("q")}).exit);
    EXPECT_EQ(0, octavo({"compare", path("in"), path("q"), "--least-sqnr", "20"}).exit);
    EXPECT_EQ(1, octavo({"compare", path("in"), path("q"), "--least-sqnr", "90"}).exit);
    EXPECT_EQ(0, octavo({"convert", path("q"), path("c"), "--to", "compressed-tensors"}).exit);
    EXPECT_EQ(0, octavo({"dequantize", path("c"), path("f"), "--dtype", "float32"}).exit);
    EXPECT_EQ(0, octavo({"compare", path("q"), path("f"), "--least-sqnr", "100"}).exit);
    EXPECT_EQ("{\n  \"model_type\": \"x\"\n}\n", slurp(path("f/config.json")));
    expect_failure(3, "must hold float weights",
                   {"quantize", path("q"), path("again"), "--scheme", scheme});
    expect_failure(3, "must be new or empty",
                   {"quantize", path("in"), path("q"), "--scheme", scheme});
  }
  expect_failure(3, "must hold quantised layers",
                 {"convert", path("in"), path("x"), "--to", "fp8"});
  expect_failure(3, "got '-'", {"quantize", path("in"), "-", "--scheme", "W8A8"});
}

TEST_F(Cli, VerifyNamesWhatIsWrong) {
  const auto bytes = [](std::initializer_list<float> values) {
    std::vector<std::byte> all(values.size() * sizeof(float));
    std::memcpy(all.data(), values.begin(), all.size());
    return [all] { return all; };
  };
  const auto code = [] { return std::vector<std::byte>(4, std::byte{0x7F}); };
  write_safetensors(path("bad"), {{"norm.weight", "F32", {2}, bytes({1, NAN})},
                                  {"p.weight", "F8_E4M3", {2, 2}, code},
                                  {"p.weight_scale", "F32", {2, 1}, bytes({1, 1})},
                                  {"q.weight", "I8", {2, 2}, code},
                                  {"q.weight_scale", "F32", {2, 1}, bytes({1, INFINITY})},
                                  {"r.weight", "I8", {2, 2}, code}});
  const Outcome got = octavo({"verify", path("bad"), "--json"});
  EXPECT_EQ(1, got.exit);
  const std::vector<json> objects = lines(got.out);
  ASSERT_EQ(5U, objects.size()) << got.out;
  EXPECT_EQ("norm.weight", objects[0].at("name"));
  EXPECT_NE(std::string::npos, objects[0].at("problem").get<std::string>().find("column 1"));
  EXPECT_NE(std::string::npos, objects[1].at("problem").get<std::string>().find("a code is NaN"));
  EXPECT_NE(std::string::npos, objects[2].at("problem").get<std::string>().find("a scale is inf"));
  EXPECT_NE(std::string::npos, objects[3].at("problem").get<std::string>().find("its scale"));
  EXPECT_EQ(4, objects[4].at("problems"));
}

TEST_F(Cli, CompareNamesWhatOneOfThemLacks) {
  model();
  write_safetensors(path("other"),
                    {{"norm.weight", "F32", {8}, [] { return std::vector<std::byte>(32); }}});
  const Outcome got = octavo({"compare", path("model"), path("other")});
  EXPECT_EQ(1, got.exit);
  EXPECT_NE(std::string::npos, got.out.find("up.weight: no such tensor in")) << got.out;
}

TEST_F(Cli, ReportSaysWhatEachSchemeWouldDo) {
  const Outcome got = octavo({"report", model()});
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
    ASSERT_EQ(4U, layer.at("schemes").size());
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
  EXPECT_EQ(12U, report.at("speed")[0].at("times").size());
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
  const Outcome got = octavo({"report", model(), "--least-sqnr", "0"});
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
    std::vector<std::string> arguments{"report", path("model"), "--no-speed"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome got = octavo(arguments);
    EXPECT_EQ(0, got.exit) << got.err;
    const json report = json::parse(got.out);
    EXPECT_TRUE(report.at("speed").is_null());
    return report.at("layers")[0].at("recommendation");
  };
  model();
  EXPECT_EQ("int8-dynamic", choices({"--scheme", "int8-dynamic"}).at("choice"));
  const json none = choices({"--scheme", "int8-dynamic", "--least-sqnr", "200"});
  EXPECT_EQ("float", none.at("choice"));
  EXPECT_NE(std::string::npos, none.at("reason").get<std::string>().find("no scheme reaches"));
}

TEST_F(Cli, ReportMeasuresAQuantisedModelAgainstItsFloatOne) {
  ASSERT_EQ(0, octavo({"quantize", model(), path("q"), "--scheme", "fp8-dynamic", "--quiet"}).exit);
  const Outcome alone = octavo({"report", path("q"), "--no-speed"});
  ASSERT_EQ(0, alone.exit) << alone.err;
  EXPECT_TRUE(json::parse(alone.out).at("layers")[0].at("error").is_null());
  const Outcome got = octavo({"report", path("q"), "--against", path("model"), "--no-speed"});
  ASSERT_EQ(0, got.exit) << got.err;
  for (const json& layer : json::parse(got.out).at("layers")) {
    EXPECT_EQ("fp8-dynamic", layer.at("scheme"));
    EXPECT_EQ(layer.at("schemes")[1].at("max_error"), layer.at("error").at("max_error"));
  }
  expect_failure(3, "must hold a float layer",
                 {"report", path("q"), "--against", path("q"), "--no-speed"});
}

TEST_F(Cli, HelpAndCompletionKnowEveryCommand) {
  const Outcome all = octavo({"help"}), one = octavo({"help", "convert"});
  EXPECT_EQ(0, all.exit);
  EXPECT_NE(std::string::npos, one.out.find("--to")) << one.out;
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const Outcome script = octavo({"completion", shell});
    EXPECT_EQ(0, script.exit);
    for (const char* word : {"quantize", "dequantize", "compare", "scheme"}) {
      EXPECT_NE(std::string::npos, script.out.find(word)) << shell;
    }
  }
}

TEST_F(Cli, InspectEndsWithTheSentenceOfALayerThatIsNotWhole) {
  write_safetensors(path("half"),
                    {{"p.weight", "I8", {1, 1}, [] { return std::vector<std::byte>(1); }}});
  const Outcome got = octavo({"inspect", path("half")});
  EXPECT_EQ(3, got.exit);
  EXPECT_NE(std::string::npos, got.out.find("p.weight")) << got.out;
  EXPECT_NE(std::string::npos, got.err.find("must have its scale beside it")) << got.err;
}

TEST_F(Cli, InspectDoesNotPassControlCharactersToTheTerminal) {
  write_safetensors(path("x"), {{"a\x1B[2J", "I8", {0}, [] { return std::vector<std::byte>(); }}},
                    {{"k", "\x1B]0;title\x07"}});
  const Outcome got = octavo({"inspect", path("x")});
  EXPECT_EQ(0, got.exit);
  EXPECT_EQ(std::string::npos, got.out.find('\x1B')) << got.out;
  EXPECT_NE(std::string::npos, got.out.find("a\\x1b[2J")) << got.out;
}

TEST_F(Cli, PlanSaysWhatRanksHoldComputeAndSend) {
  const auto zeros = [](std::int64_t bytes) {
    return [bytes] { return std::vector<std::byte>(static_cast<std::size_t>(bytes)); };
  };
  std::vector<TensorToWrite> tensors;
  const auto codes = [&](const std::string& layer, std::int64_t n, std::int64_t k) {
    tensors.push_back({layer + ".weight", "I8", {n, k}, zeros(n * k)});
    tensors.push_back({layer + ".weight_scale", "F32", {n, 1}, zeros(4 * n)});
  };
  for (const char* layer : {"l.0", "l.1"}) {
    codes(std::string(layer) + ".mlp.up_proj", 1024, 256);
    codes(std::string(layer) + ".mlp.down_proj", 256, 1024);
    for (int e = 0; e < 6; ++e) {
      codes(std::string(layer) + ".moe.experts." + std::to_string(e) + ".down_proj", 64, 32);
    }
  }
  tensors.push_back({"embed_tokens.weight", "BF16", {100, 256}, zeros(51200)});
  tensors.push_back({"norm.weight", "BF16", {256}, zeros(512)});
  write_safetensors(path("plain"), tensors);
  const std::vector<std::string> ask{"plan",      path("plain"), "--ranks",  "4",
                                     "--network", "8Gb",         "--rows",   "10",
                                     "--latency", "1ms",         "--device", "h200"};
  std::vector<std::string> as_json = ask;
  as_json.emplace_back("--json");
  const Outcome got = octavo(as_json);
  ASSERT_EQ(0, got.exit) << got.err;
  const std::vector<json> objects = lines(got.out);
  ASSERT_EQ(5U, objects.size());
  const auto group = [&](const std::string& name) {
    return *std::ranges::find_if(objects,
                                 [&](const json& o) { return o.value("name", "") == name; });
  };
  const json up = group("l.*.mlp.up_proj");
  EXPECT_EQ("columns", up["split"]);
  EXPECT_EQ(2, up["layers"]);
  EXPECT_EQ(2 * (256 * 256 + 256 * 4), up["bytes"]);
  EXPECT_EQ(2.0 * 2 * 10 * 256 * 256, up["operations"]);
  EXPECT_EQ(0.0, up["communication_seconds"]);
  // A rank has 256 of 1024 columns and every row's scale; int32 sums go round a ring, the rows'
  // absmax up a tree.
  const json down = group("l.*.mlp.down_proj");
  EXPECT_EQ("rows", down["split"]);
  EXPECT_EQ(2 * (256 * 256 + 256 * 4), down["bytes"]);
  EXPECT_EQ(2 * (2.0 * 3 / 4 * 4 * 10 * 256 + 4 * 10), down["bytes_sent"]);
  EXPECT_EQ(2 * (2.0 * 3 + 2), down["messages"]);
  EXPECT_DOUBLE_EQ(16 * 1e-3 + down["bytes_sent"].get<double>() / 1e9,
                   down["communication_seconds"].get<double>());
  // Six experts on four ranks: two on the fullest.
  const json experts = group("l.*.moe.experts.*.down_proj");
  EXPECT_EQ("experts", experts["split"]);
  EXPECT_EQ(2, experts["layers"]);
  EXPECT_EQ(6, experts["experts"]);
  EXPECT_EQ(2 * 2 * (64 * 32 + 64 * 4), experts["bytes"]);
  EXPECT_EQ("replicated", group("embed_tokens")["split"]);
  const json plan = objects.back();
  EXPECT_EQ("plan", plan["type"]);
  EXPECT_EQ(true, plan["simulated"]);
  EXPECT_EQ(512, plan["other_bytes"]);
  std::int64_t held = 512;
  for (const json& o : objects) held += o["type"] == "layers" ? o["bytes"].get<std::int64_t>() : 0;
  EXPECT_EQ(held, plan["bytes"]);

  const Outcome table = octavo(ask);
  EXPECT_EQ(0, table.exit) << table.err;
  EXPECT_NE(std::string::npos, table.out.find("simulated: a data sheet's rates")) << table.out;
  EXPECT_NE(std::string::npos, table.out.find("2 x 6")) << table.out;
  // One rank sends nothing.
  const std::vector<json> alone =
      lines(octavo({"plan", path("plain"), "--device", "h200", "--json"}).out);
  EXPECT_EQ(0.0, alone.back()["communication_seconds"]);
  // This machine's rates.
  const std::vector<json> here =
      lines(octavo({"plan", path("plain"), "--threads", "1", "--json"}).out);
  EXPECT_EQ(false, here.back()["simulated"]);
  EXPECT_GT(here.back()["read_gbps"], 0.0);

  expect_failure(3, "plan: --network must be a number and one of Gb, Mb, Tb; got 200Gbit",
                 {"plan", path("plain"), "--network", "200Gbit", "--device", "h200"});
  expect_failure(3, "plan_ranks: network_gbits must be above 0; got -1",
                 {"plan", path("plain"), "--network=-1Gb", "--device", "h200"});
  expect_failure(2, "--device", {"plan", path("plain"), "--device", "h1"});
}

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
  EXPECT_EQ((std::vector<std::string>{"more", "name", "summary", "type", "unavailable", "usable",
                                      "uses"}),
            fields(*backend));
}

// Variables are read once, so every value has a process of its own.
TEST_F(Cli, InfoSaysWhetherThreadsStayAwakeAndAnotherValueIsRefused) {
  if (octavo({"info"}).out.find("oneTBB") == std::string::npos) GTEST_SKIP() << "no oneTBB";
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
