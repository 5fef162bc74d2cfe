// SPDX-License-Identifier: Apache-2.0
// Layers that are not read beside layers that are: the others are, and nothing is lost.
#include <nlohmann/json.hpp>

#include <string>
#include <vector>

#include "checkpoint/support.hpp"
#include "ops/helpers.hpp"

namespace octavo::test::foreign_layers_test {
namespace {

using Json = nlohmann::json;
using Tensors = std::vector<TensorToWrite>;

constexpr const char* kConfig = R"({"quant_method":"compressed-tensors","format":"mixed-precision",
  "config_groups":{
    "four":{"format":"nvfp4-pack-quantized","targets":["m.four"],
            "weights":{"num_bits":4,"type":"float","strategy":"tensor_group","group_size":16}},
    "eight":{"format":"int-quantized","targets":["Linear"],
             "weights":{"num_bits":8,"type":"int","strategy":"channel","symmetric":true},
             "input_activations":{"num_bits":8,"type":"int","strategy":"token","dynamic":true}}},
  "ignore":["m.head"]})";

/// A layer of 8 bits, one of 4, and a convolution.
Tensors mixed() {
  return {
      stored<std::int8_t>("m.eight.weight", "I8", {2, 2}, {1, -2, 3, 4}),
      stored<float>("m.eight.weight_scale", "F32", {2, 1}, {0.5F, 2.0F}),
      stored<std::uint8_t>("m.four.weight_packed", "U8", {2, 8}, std::vector<std::uint8_t>(16, 7)),
      stored<std::uint8_t>("m.four.weight_scale", "F8_E4M3", {2, 1}, {0x38, 0x38}),
      stored<float>("m.four.weight_global_scale", "F32", {1}, {1.0F}),
      stored<std::int8_t>("m.conv.weight", "I8", {2, 1, 1, 2}, {1, 2, -3, 4}),
      stored<float>("m.conv.weight_scale", "F32", {2, 1, 1, 1}, {0.5F, 0.25F}),
      stored<float>("m.norm.weight", "F32", {2}, {1.0F, 2.0F})};
}

class ForeignLayers : public Scratch {
 protected:
  std::string file(const std::string& config = kConfig) {
    write_safetensors(path("x"), mixed(), {{"quantization_config", config}});
    return path("x");
  }
};

void expect_same_bytes(const Checkpoint& before, const Checkpoint& after, const char* name) {
  EXPECT_EQ(before.bytes(name), after.bytes(name)) << name;
}

constexpr const char* kFour[] = {"m.four.weight_packed", "m.four.weight_scale",
                                 "m.four.weight_global_scale"};

TEST_F(ForeignLayers, AreRefusedByNameAndStopNoOther) {
  const Checkpoint in = open_checkpoint(file());
  EXPECT_EQ("int8-dynamic", in.weight("m.eight").scheme);
  expect_error(Code::unsupported, "weights must be of 8 bits; got 4 of type 'float'",
               [&] { in.weight("m.four"); });
}

TEST_F(ForeignLayers, AreLeftWithTheirDeclarationByDequantize) {
  const QuantizeReport report = dequantize_file(file(), path("out"), {.dtype = DType::float32});
  ASSERT_EQ(1U, report.warnings.size());
  EXPECT_NE(std::string::npos,
            report.warnings[0].find("1 quantised layers are not read and left as they are stored "
                                    "(the first: 'm.four': "))
      << report.warnings[0];
  const Checkpoint before = open_checkpoint(path("x")), after = open_checkpoint(path("out"));
  for (const char* name : kFour) expect_same_bytes(before, after, name);
  const Tensor eight = after.tensor("m.eight.weight");
  EXPECT_EQ(-1.0, at(eight, 0, 1));
  EXPECT_EQ(6.0, at(eight, 1, 0));
  const Tensor conv = after.tensor("m.conv.weight");
  ASSERT_EQ(4, conv.rank());
  const float want[] = {0.5F, 1.0F, -0.75F, 1.0F};
  for (int i = 0; i < 4; ++i) EXPECT_EQ(want[i], conv.data_as<float>()[i]);
  const Json config = Json::parse(after.metadata().at("quantization_config"));
  EXPECT_EQ((Json{"m.head", "m.conv", "m.eight"}), config["ignore"]);
  EXPECT_EQ(Json::parse(kConfig)["config_groups"], config["config_groups"]);
}

TEST_F(ForeignLayers, AreCopiedByConvertWhereTheFormatHasTheirGroup) {
  const QuantizeReport report =
      convert_file(file(), path("out"), {.format = Format::compressed_tensors});
  const Checkpoint before = open_checkpoint(path("x")), after = open_checkpoint(path("out"));
  for (const char* name : kFour) expect_same_bytes(before, after, name);
  expect_same_bytes(before, after, "m.eight.weight");
  EXPECT_EQ("int8-dynamic", after.weight("m.eight").scheme);
  expect_error(Code::unsupported, "weights must be of 8 bits; got 4 of type 'float'",
               [&] { after.weight("m.four"); });
  const Json config = Json::parse(after.metadata().at("quantization_config"));
  EXPECT_EQ("mixed-precision", config["format"]);
  EXPECT_EQ(Json::parse(kConfig)["config_groups"]["four"], config["config_groups"]["group_1"]);
  EXPECT_EQ(4, after.tensor("m.conv.weight").rank());  // left in float
  std::string all;
  for (const std::string& warning : report.warnings) all += warning + "\n";
  for (const char* part : {"'m.four'", "'m.conv'"})
    EXPECT_NE(std::string::npos, all.find(part)) << all;
}

TEST_F(ForeignLayers, AreNamedByConvertWhereTheFormatHasNoPlace) {
  for (const Format format : {Format::fp8, Format::bitsandbytes}) {
    expect_error(Code::unsupported, "convert_file: layer 'm.four' must have a form in ",
                 [&] { convert_file(file(), path("out"), {.format = format}); });
    EXPECT_EQ(std::vector<std::string>{"x"}, listing());
  }
}

TEST_F(ForeignLayers, AloneAreRefused) {
  write_safetensors(path("y"),
                    {stored<std::uint8_t>("m.four.weight_packed", "U8", {1, 2}, {1, 2}),
                     stored<std::uint8_t>("m.four.weight_scale", "F8_E4M3", {1, 1}, {0x38})},
                    {{"quantization_config", kConfig}});
  expect_error(Code::unsupported, "must hold a quantised layer that is read; got 1, the first: ",
               [&] { dequantize_file(path("y"), path("out")); });
}

// DeepSeek-V4's experts: two codes of 4 bits in each byte of I8.
TEST_F(ForeignLayers, DeepSeeksFourBitsAreNamed) {
  write_safetensors(path("y"), {stored<std::int8_t>("e.weight", "I8", {1, 4}, {1, 2, 3, 4}),
                                stored<std::uint8_t>("e.scale", "F8_E8M0", {1, 1}, {127})});
  expect_error(Code::unsupported, "two codes of 4 bits a byte",
               [&] { open_checkpoint(path("y")).weight("e"); });
}

}  // namespace
}  // namespace octavo::test::foreign_layers_test
