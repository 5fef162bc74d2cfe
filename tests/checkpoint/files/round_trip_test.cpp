// SPDX-License-Identifier: Apache-2.0
// What is written is read back: every type, empty and rank-0 tensors, layouts of other writers.
#include <numeric>

#include "checkpoint/support.hpp"

namespace octavo::test::round_trip_test {
namespace {

using RoundTrip = Scratch;

struct Type {
  const char* name;
  int bits;
};
constexpr Type kTypes[] = {{"BOOL", 8},    {"F4", 4},          {"F6_E2M3", 6},     {"F6_E3M2", 6},
                           {"U8", 8},      {"I8", 8},          {"F8_E5M2", 8},     {"F8_E4M3", 8},
                           {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16},
                           {"U16", 16},    {"F16", 16},        {"BF16", 16},       {"I32", 32},
                           {"U32", 32},    {"F32", 32},        {"C64", 64},        {"F64", 64},
                           {"I64", 64},    {"U64", 64}};

TEST_F(RoundTrip, AllTypesAreBitEqual) {
  std::vector<TensorToWrite> tensors;
  std::vector<std::vector<std::uint8_t>> contents;
  for (const Type& type : kTypes) {
    std::vector<std::uint8_t> content(static_cast<std::size_t>(256 * type.bits / 8));
    std::iota(content.begin(), content.end(), static_cast<std::uint8_t>(contents.size()));
    tensors.push_back(stored(std::string("t.") + type.name, type.name, {16, 16}, content));
    contents.push_back(content);
  }
  write_safetensors(path("all"), tensors, {{"format", "pt"}, {"quote\"", "line\nbreak \xC3\xA9"}});

  const Checkpoint file = open_checkpoint(path("all"));
  EXPECT_EQ("pt", file.metadata().at("format"));
  EXPECT_EQ("line\nbreak \xC3\xA9", file.metadata().at("quote\""));
  ASSERT_EQ(std::size(kTypes), file.entries().size());
  for (std::size_t i = 0; i < std::size(kTypes); ++i) {
    const std::string name = std::string("t.") + kTypes[i].name;
    EXPECT_EQ(bytes_of(contents[i]), file.bytes(name)) << name;
    const DType dtype = dtype_from_name(kTypes[i].name);
    if (dtype == DType::undefined) {
      expect_error(Code::unsupported,
                   "must be one that Octavo carries; got " + std::string(kTypes[i].name),
                   [&] { file.tensor(name); });
      continue;
    }
    const Tensor tensor = file.tensor(name);
    EXPECT_EQ(dtype, tensor.dtype()) << name;
    EXPECT_EQ(0, std::memcmp(tensor.data(), contents[i].data(), contents[i].size())) << name;
  }
}

TEST_F(RoundTrip, EmptyAndRankZeroTensors) {
  write_safetensors(
      path("x"),
      {stored<float>("empty", "F32", {0, 4}, {}), stored<float>("scalar", "F32", {}, {2.5F}),
       stored<float>("also_empty", "F32", {3, 0}, {}), stored<std::int8_t>("none", "I8", {0}, {})});
  const Checkpoint file = open_checkpoint(path("x"));
  EXPECT_EQ(4U, file.entries().size());
  EXPECT_EQ(0, file.tensor("empty").numel());
  EXPECT_EQ(4, file.tensor("empty").size(1));
  EXPECT_EQ(0, file.tensor("none").numel());
  EXPECT_EQ(0, file.tensor("scalar").rank());
  EXPECT_EQ(2.5F, *file.tensor("scalar").data_as<float>());
}

TEST_F(RoundTrip, AFileWithoutTensors) {
  write_safetensors(path("x"), {});
  EXPECT_TRUE(open_checkpoint(path("x")).entries().empty());
  write_file(path("minimal"), raw_file("{}"));
  EXPECT_TRUE(open_checkpoint(path("minimal")).entries().empty());
}

TEST_F(RoundTrip, WhiteSpaceAroundTheHeaderAndUnknownFieldsAreAccepted) {
  write_file(path("x"), raw_file(" \t\r\n{\"x\":{\"shape\":[2,2],\"new\":[{}],\"dtype\":\"U8\","
                                 "\"data_offsets\":[0,4]}}  \n ",
                                 4));
  const Checkpoint file = open_checkpoint(path("x"));
  EXPECT_EQ((std::vector<std::int64_t>{2, 2}), file.entries()[0].shape);
}

TEST_F(RoundTrip, EntriesComeInTheOrderOfTheFileWhateverTheHeadersOrder) {
  write_file(path("x"), raw_file(R"({"b":{"dtype":"U8","shape":[1],"data_offsets":[4,5]},)"
                                 R"("z":{"dtype":"U8","shape":[0],"data_offsets":[4,4]},)"
                                 R"("a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})",
                                 5));
  const Checkpoint file = open_checkpoint(path("x"));
  ASSERT_EQ(3U, file.entries().size());
  EXPECT_EQ("a", file.entries()[0].name);
  EXPECT_EQ("z", file.entries()[1].name);
  EXPECT_EQ("b", file.entries()[2].name);
}

TEST_F(RoundTrip, DataBeginsAtAPageAndEveryTensorIsAligned) {
  write_safetensors(
      path("x"),
      {stored<std::int8_t>("a", "I8", {3}, {1, 2, 3}), stored<std::uint16_t>("b", "BF16", {1}, {7}),
       stored<float>("c", "F32", {1}, {1}), stored<double>("d", "F64", {1}, {1})});
  const Checkpoint file = open_checkpoint(path("x"));
  std::string order;
  for (const TensorEntry& e : file.entries()) order += e.name;
  EXPECT_EQ("dcba", order);
  EXPECT_EQ(4096 + 8 + 4 + 2 + 3, file.file_bytes());
  EXPECT_EQ(0, file.entries()[0].begin);
}

TEST_F(RoundTrip, NamesAreFoundAndWrongOnesGetTheNearest) {
  write_safetensors(path("x"), {stored<float>("encoder.layer.0.weight", "F32", {1}, {1}),
                                stored<float>("encoder.layer.1.bias", "F32", {1}, {1}),
                                stored<float>("", "F32", {1}, {3})});
  const Checkpoint file = open_checkpoint(path("x"));
  EXPECT_TRUE(file.contains("encoder.layer.0.weight"));
  EXPECT_FALSE(file.contains("encoder.layer.0"));
  EXPECT_EQ(3.0F, *file.tensor("").data_as<float>());
  expect_error(Code::invalid_argument, "(nearest: 'encoder.layer.1.bias')",
               [&] { file.tensor("encoder.layers.1.bias"); });
  expect_error(Code::invalid_argument, "must be a tensor of file",
               [&] { file.bytes("encoder.layer.2.weight"); });
}

TEST_F(RoundTrip, ATensorOfNineDimensionsIsReadAsBytesOnly) {
  write_safetensors(path("x"), {stored<std::int8_t>("x", "I8", {1, 1, 1, 1, 1, 1, 1, 1, 1}, {5})});
  const Checkpoint file = open_checkpoint(path("x"));
  EXPECT_EQ(std::byte{5}, file.bytes("x").at(0));
  expect_error(Code::unsupported, "at most 8 dimensions; got 9", [&] { file.tensor("x"); });
}

}  // namespace
}  // namespace octavo::test::round_trip_test
