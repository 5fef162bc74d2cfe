// SPDX-License-Identifier: Apache-2.0
// Commands that read checkpoints: inspect, convert, dequantize, verify, compare.
#include <cmath>
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
  std::ofstream(path("in/config.json")) << "{\n  \"hidden_act\": \"x\"\n}\n";
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
    EXPECT_EQ("{\n  \"hidden_act\": \"x\"\n}\n", slurp(path("f/config.json")));
    expect_failure(3, "must hold float weights",
                   {"quantize", path("q"), path("again"), "--scheme", scheme});
    expect_failure(3, "must be a new or empty folder unless --overwrite is given",
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

// [K, N] on one side, [N, K] on the other.
TEST_F(Cli, CompareKnowsConv1Ds) {
  std::filesystem::create_directories(path("in"));
  std::vector<float> values(16 * 48);
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(i * 37 % 101) / 101.0F - 0.5F;
  }
  const auto floats = [&](std::size_t count) {
    const auto* bytes = reinterpret_cast<const std::byte*>(values.data());
    return [all = std::vector<std::byte>(bytes, bytes + count * sizeof(float))] { return all; };
  };
  write_safetensors(path("in/model.safetensors"),
                    {{"h.0.c_attn.weight", "F32", {16, 48}, floats(values.size())},
                     {"h.0.c_proj.weight", "F32", {16, 16}, floats(256)}});
  std::ofstream(path("in/config.json")) << R"({"model_type": "gpt2", "dtype": "float32"})";
  ASSERT_EQ(0, octavo({"quantize", path("in"), path("q"), "--scheme=llm-int8"}).exit);
  ASSERT_EQ(0, octavo({"dequantize", path("q"), path("f")}).exit);
  const auto least = [&](const char* a, const char* b, const char* db) {
    const Outcome got = octavo({"compare", path(a), path(b), "--least-sqnr", db});
    EXPECT_EQ(0, got.exit) << got.out << got.err;
  };
  least("in", "in", "200");
  least("in", "q", "30");
  least("in", "f", "30");
  least("q", "f", "120");
}

TEST_F(Cli, CompareNamesWhatOneOfThemLacks) {
  model();
  write_safetensors(path("other"),
                    {{"norm.weight", "F32", {8}, [] { return std::vector<std::byte>(32); }}});
  const Outcome got = octavo({"compare", path("model"), path("other")});
  EXPECT_EQ(1, got.exit);
  EXPECT_NE(std::string::npos, got.out.find("up.weight: no such tensor in")) << got.out;
}

TEST_F(Cli, InspectEndsWithTheSentenceOfALayerThatIsNotWhole) {
  write_safetensors(path("half"),
                    {{"p.weight", "I8", {1, 1}, [] { return std::vector<std::byte>(1); }}});
  const Outcome got = octavo({"inspect", path("half")});
  EXPECT_EQ(3, got.exit);
  EXPECT_NE(std::string::npos, got.out.find("p.weight")) << got.out;
  EXPECT_NE(std::string::npos, got.err.find("must have its scale beside it")) << got.err;
}

TEST_F(Cli, InspectListsALayerOfOtherCodesBesideTheOthers) {
  const auto bytes = [](std::size_t count) {
    return [count] { return std::vector<std::byte>(count); };
  };
  write_safetensors(path("mixed"), {{"m.four.weight", "U32", {2, 4}, bytes(32)},
                                    {"m.four.scales", "F32", {2, 1}, bytes(8)},
                                    {"m.four.biases", "F32", {2, 1}, bytes(8)},
                                    {"m.eight.weight", "I8", {2, 4}, bytes(8)},
                                    {"m.eight.weight_scale", "F32", {2, 1}, bytes(8)}});
  const Outcome got = octavo({"inspect", path("mixed")});
  EXPECT_EQ(0, got.exit) << got.err;
  EXPECT_NE(std::string::npos, got.out.find("int8-dynamic")) << got.out;
  EXPECT_NE(std::string::npos, got.out.find("not read as a matrix of 8 bits: 1 quantised layer "
                                            "(the first: m.four: "))
      << got.out;
  const Outcome json = octavo({"inspect", "--json", path("mixed")});
  EXPECT_EQ(0, json.exit) << json.err;
  EXPECT_NE(std::string::npos, json.out.find("\"reason\"")) << json.out;
}

TEST_F(Cli, InspectDoesNotPassControlCharactersToTheTerminal) {
  write_safetensors(path("x"), {{"a\x1B[2J", "I8", {0}, [] { return std::vector<std::byte>(); }}},
                    {{"k", "\x1B]0;title\x07"}});
  const Outcome got = octavo({"inspect", path("x")});
  EXPECT_EQ(0, got.exit);
  EXPECT_EQ(std::string::npos, got.out.find('\x1B')) << got.out;
  EXPECT_NE(std::string::npos, got.out.find("a\\x1b[2J")) << got.out;
}

}  // namespace
}  // namespace octavo::test
