// SPDX-License-Identifier: Apache-2.0
// Tensors of GGUF files: floats as they are, blocks as codes and scales, any part of them.
#include <numeric>
#include <string>
#include <vector>

#include "checkpoint/gguf/gguf_bytes.hpp"
#include "checkpoint/support.hpp"
#include "octavo/checkpoint/sharding.hpp"

namespace octavo::test::gguf_tensors_test {
namespace {

constexpr std::uint32_t kText = 8;
constexpr std::uint32_t kF32 = 0, kQ4 = 2, kQ41 = 3, kQ8 = 8;

/// Bytes that differ from their neighbours, without scales that are not finite.
std::string some_bytes(std::size_t count) {
  std::string bytes(count, '\0');
  for (std::size_t i = 0; i < count; ++i) bytes[i] = static_cast<char>(i * 37 % 120);
  return bytes;
}

class GgufTensorsTest : public Scratch {
 protected:
  Checkpoint open(const GgufFile& file) {
    write_file(path("x.gguf"), file.bytes());
    return open_checkpoint(path("x.gguf"));
  }
};

TEST_F(GgufTensorsTest, FloatsAreAsTheyAreWithExtentsReversed) {
  for (const std::uint32_t version : {2U, 3U}) {
    GgufFile file{.version = version,
                  .pairs = {gguf_pair("general.architecture", kText, gguf_text("llama"))},
                  .tensors = {gguf_tensor("x", {4, 2}, kF32, 0)},
                  .data = some_bytes(32)};
    const Checkpoint opened = open(file);
    EXPECT_EQ(opened.metadata().at("general.architecture"), "llama");
    ASSERT_EQ(opened.entries().size(), 1U);
    EXPECT_EQ(opened.entries()[0].dtype, "F32");
    EXPECT_EQ(opened.entries()[0].shape, (std::vector<std::int64_t>{2, 4}));
    const std::vector<std::byte> bytes = opened.bytes("x");
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), file.data);
    EXPECT_TRUE(opened.quantized_layers().empty());
  }
}

TEST_F(GgufTensorsTest, BlocksOfQ8AreCodesAndScales) {
  constexpr std::int64_t kRows = 3, kBlocks = 2;
  const GgufFile file{.tensors = {gguf_tensor("a.weight", {32 * kBlocks, kRows}, kQ8, 0)},
                      .data = some_bytes(34 * kRows * kBlocks)};
  const Checkpoint opened = open(file);
  EXPECT_EQ(opened.quantized_layers(), std::vector<std::string>{"a"});
  const std::vector<std::byte> codes = opened.bytes("a.weight");
  const std::vector<std::byte> scales = opened.bytes("a.weight_block_scale");
  ASSERT_EQ(codes.size(), 32U * kRows * kBlocks);
  ASSERT_EQ(scales.size(), 2U * kRows * kBlocks);
  for (std::size_t block = 0; block < kRows * kBlocks; ++block) {
    EXPECT_EQ(0, std::memcmp(file.data.data() + block * 34, scales.data() + block * 2, 2));
    EXPECT_EQ(0, std::memcmp(file.data.data() + block * 34 + 2, codes.data() + block * 32, 32));
  }
  const Weight weight = opened.weight("a");
  EXPECT_EQ(weight.scheme, "int8-weight-only");
  EXPECT_FALSE(weight.activation.has_value());
  EXPECT_EQ(weight.codes.grid, (ScaleGrid{1, 32}));
}

// What is read of a tensor does not depend on how much is read at once.
TEST_F(GgufTensorsTest, PartsOfAWeightAreThoseOfTheWhole) {
  for (const auto& [type, block] : {std::pair{kQ8, 34U}, std::pair{kQ4, 18U}}) {
    const GgufFile file{.tensors = {gguf_tensor("a.weight", {128, 6}, type, 0)},
                        .data = some_bytes(block * 4 * 6)};
    const Checkpoint opened = open(file);
    const Weight whole = opened.weight("a");
    for (const ShardAxis axis : {ShardAxis::columns, ShardAxis::rows}) {
      for (std::int64_t rank = 0; rank < 2; ++rank) {
        const Weight want = shard(whole, axis, rank, 2);
        const Weight got = read_shard(opened, "a", axis, rank, 2);
        const std::int64_t bytes = got.codes.data.numel();
        ASSERT_EQ(bytes, want.codes.data.numel());
        const Tensor dense = copy(want.codes.data, DType::int8);
        EXPECT_EQ(0, std::memcmp(copy(got.codes.data, DType::int8).data(), dense.data(),
                                 static_cast<std::size_t>(bytes)));
      }
    }
  }
}

TEST_F(GgufTensorsTest, BlocksWithMinimaAreListedAndRefusedByName) {
  const GgufFile file{.tensors = {gguf_tensor("a.weight", {32, 2}, kQ41, 0),
                                  gguf_tensor("b.weight", {32, 2}, kQ8, 64)},
                      .data = some_bytes(64 + 68)};
  const Checkpoint opened = open(file);
  EXPECT_EQ(opened.quantized_layers(), (std::vector<std::string>{"a", "b"}));
  expect_error(Code::unsupported, "blocks of type Q8_0, Q4_0", [&] { (void)opened.weight("a"); });
  expect_error(Code::unsupported, "got Q4_1", [&] { (void)opened.tensor("a.weight"); });
  EXPECT_EQ(opened.bytes("a.weight").size(), 40U);
  EXPECT_EQ(opened.weight("b").codes.data.size(0), 2);
  expect_error(Code::unsupported, "convert_file: tensor 'a.weight' must hold floats",
               [&] { (void)convert_file(path("x.gguf"), path("y.safetensors"), {}); });
}

// d = 2, m = 0.5; codes 7 in the first half and 9 in the second.
TEST_F(GgufTensorsTest, BlocksWithMinimaAreFloatsWhereTheyAreAskedFor) {
  const std::string block = little(std::uint16_t{0x4000}) + little(std::uint16_t{0x3800}) +
                            std::string(16, static_cast<char>(0x97));
  const GgufFile file{.tensors = {gguf_tensor("a.weight", {32, 2}, kQ41, 0)},
                      .data = block + block};
  write_file(path("x.gguf"), file.bytes());
  (void)dequantize_file(path("x.gguf"), path("y.safetensors"), {.dtype = DType::float32});
  const Tensor found = open_checkpoint(path("y.safetensors")).tensor("a.weight");
  ASSERT_EQ(found.numel(), 64);
  for (std::int64_t i = 0; i < 64; ++i) {
    EXPECT_EQ(found.data_as<float>()[i], i % 32 < 16 ? 14.5F : 18.5F);
  }
}

// A configuration that lies in the same folder is of another model.
TEST_F(GgufTensorsTest, ConfigurationsBesideItSayNothing) {
  write_file(path("config.json"), R"({"quantization_config": {"quant_method": "unheard of"}})");
  const GgufFile file{.tensors = {gguf_tensor("a.weight", {32, 2}, kQ8, 0)},
                      .data = some_bytes(68)};
  const Checkpoint opened = open(file);
  EXPECT_TRUE(opened.declarations().empty());
  EXPECT_EQ(opened.weight("a").codes.data.size(1), 32);
}

TEST_F(GgufTensorsTest, APartOfAModelIsOpenedAndNotConverted) {
  GgufFile file{.pairs = {gguf_pair("split.count", 2, little(std::uint16_t{3}))},
                .tensors = {gguf_tensor("a.weight", {32, 2}, kQ8, 0)},
                .data = some_bytes(68)};
  EXPECT_EQ(missing_parts(open(file)).size(), 1U);
  expect_error(Code::corrupt_data, "must hold the whole model",
               [&] { (void)dequantize_file(path("x.gguf"), path("y.safetensors")); });
}

}  // namespace
}  // namespace octavo::test::gguf_tensors_test
