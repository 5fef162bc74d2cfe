// SPDX-License-Identifier: Apache-2.0
// GGUF files that break a rule of the format: each gets a sentence that says which.
#include <limits>
#include <string>
#include <vector>

#include "checkpoint/gguf/gguf_bytes.hpp"
#include "checkpoint/support.hpp"

namespace octavo::test::gguf_header_test {
namespace {

constexpr std::uint32_t kUint32 = 4, kBool = 7, kText = 8, kArray = 9, kUint64 = 10;
constexpr std::uint32_t kF32 = 0, kF16 = 1, kQ8 = 8, kQ4K = 12, kI8 = 24;
constexpr std::uint64_t kHuge = std::numeric_limits<std::uint64_t>::max();

struct Row {
  const char* name;
  std::string bytes;
  const char* fragment;
  Code code = Code::corrupt_data;
};

GgufFile with_pair(std::string pair) { return {.pairs = {std::move(pair)}}; }

GgufFile with_tensor(std::string tensor, std::size_t data = 64) {
  return {.tensors = {std::move(tensor)}, .data = std::string(data, '\x5A')};
}

std::string counts(std::uint64_t tensors, std::uint64_t pairs) {
  return "GGUF" + little(std::uint32_t{3}) + little(tensors) + little(pairs);
}

std::vector<Row> corpus() {
  const std::string array_of = little(std::uint32_t{kText});
  GgufFile one = with_tensor(gguf_tensor("x", {16}, kF32, 0));
  GgufFile aligned{.pairs = {gguf_pair("general.alignment", kUint32, little(std::uint32_t{64}))},
                   .tensors = {gguf_tensor("x", {8}, kF32, 32)},
                   .data = std::string(128, 'x'),
                   .alignment = 64};
  GgufFile twins = with_tensor(gguf_tensor("x", {8}, kF32, 0));
  twins.tensors.push_back(gguf_tensor("x", {8}, kF32, 32));
  GgufFile overlap = with_tensor(gguf_tensor("x", {16}, kF32, 0), 96);
  overlap.tensors.push_back(gguf_tensor("y", {8}, kF32, 32));
  GgufFile scales = with_tensor(gguf_tensor("x", {32}, kQ8, 0), 128);
  scales.tensors.push_back(gguf_tensor("x_block_scale", {1}, kF16, 64));
  GgufFile pairs = with_pair(gguf_pair("k", kBool, "\1"));
  pairs.pairs.push_back(pairs.pairs[0]);
  return {
      {"magic alone", "GGUF", "header.version must lie inside the file, which has 0 bytes more"},
      {"version 1", GgufFile{.version = 1}.bytes(), "header.version must be 2 or 3; got 1",
       Code::unsupported},
      {"version 4", GgufFile{.version = 4}.bytes(), "got 4", Code::unsupported},
      {"big-endian", GgufFile{.version = 0x03000000}.bytes(),
       "header.version must be little-endian", Code::unsupported},
      {"too many tensors", counts(1, 0), "header.tensor_count must be at most 0; got 1"},
      {"2^64 - 1 tensors", counts(kHuge, 0) + std::string(64, '\0'), "header.tensor_count must be"},
      {"2^64 - 1 pairs", counts(0, kHuge) + std::string(64, '\0'), "header.kv_count must be"},

      {"long key", counts(0, 1) + little(kHuge) + std::string(64, 'k'),
       "key must be at most 65536"},
      {"key behind the end", counts(0, 1) + little(std::uint64_t{100}) + std::string(64, 'k'),
       "key must lie inside the file, which has 64 bytes more; got 100 bytes"},
      {"key that is no UTF-8", with_pair(gguf_pair("\xC3\x28", kBool, "\1")).bytes(),
       "key must be UTF-8"},
      {"text that is no UTF-8", with_pair(gguf_pair("k", kText, gguf_text("\xC3\x28"))).bytes(),
       "value of key 'k' must be UTF-8"},
      {"type of no value", with_pair(gguf_pair("k", 13, "")).bytes() + std::string(9, '\0'),
       "value.type must be at most 12; got 13"},
      {"text without an end", with_pair(gguf_pair("k", kText, little(kHuge))).bytes(),
       "text must be at most 100000000 bytes long"},
      {"array without an end",
       with_pair(gguf_pair("k", kArray, little(kUint64) + little(kHuge))).bytes(),
       "array.length must be at most"},
      {"text of an array behind the end",
       with_pair(
           gguf_pair("k", kArray, array_of + little(std::uint64_t{1}) + little(std::uint64_t{99})))
           .bytes(),
       "text must lie inside the file"},
      {"array of arrays",
       with_pair(gguf_pair("k", kArray, little(kArray) + little(std::uint64_t{0}))).bytes(),
       "be no array inside an array"},
      {"key twice", pairs.bytes(), "key 'k' must be in the header once"},

      {"five dimensions", with_tensor(gguf_tensor("x", {1, 1, 1, 1, 1}, kF32, 0)).bytes(),
       "tensor 'x'.dims must be at most 4; got 5"},
      {"extent of 2^63", with_tensor(gguf_tensor("x", {1ULL << 63U}, kI8, 0)).bytes(),
       "tensor 'x'.shape must have extents below 2^63"},
      {"2^64 bytes", with_tensor(gguf_tensor("x", {1ULL << 32U, 1ULL << 32U}, kI8, 0)).bytes(),
       "less than 2^63 bytes; got [4294967296, 4294967296] of I8"},
      {"2^63 bytes of blocks", with_tensor(gguf_tensor("x", {1ULL << 62U, 2}, kQ8, 0)).bytes(),
       "less than 2^63 bytes"},
      {"no whole blocks", with_tensor(gguf_tensor("x", {48}, kQ8, 0)).bytes(),
       "tensor 'x'.shape must have rows of whole blocks of 32"},
      {"no whole blocks of 256", with_tensor(gguf_tensor("x", {32, 8}, kQ4K, 0)).bytes(),
       "rows of whole blocks of 256"},
      {"type that is gone", with_tensor(gguf_tensor("x", {16}, 4, 0)).bytes(),
       "tensor 'x'.type must be one of ggml's that files have; got 4"},
      {"unknown type", with_tensor(gguf_tensor("x", {16}, 4000000000U, 0)).bytes(),
       "got 4000000000"},
      {"name that is no UTF-8", with_tensor(gguf_tensor("\xC3\x28", {16}, kF32, 0)).bytes(),
       "tensor.name must be UTF-8"},
      {"offset that wraps", with_tensor(gguf_tensor("x", {16}, kF32, kHuge - 31)).bytes(),
       "tensor 'x'.offset must lie inside the file"},
      {"offset near 2^63", with_tensor(gguf_tensor("x", {16}, kF32, (1ULL << 63U) - 64)).bytes(),
       "tensor 'x'.offset must lie inside the file"},
      {"offset behind the end", with_tensor(gguf_tensor("x", {16}, kF32, 32)).bytes(),
       "tensor 'x'.offset must leave its 64 bytes inside the data section of 64 bytes; got 32"},
      {"truncated", one.bytes().substr(0, one.bytes().size() - 1), "a truncated file"},
      {"no data at all", one.header(), "data section of 0 bytes"},
      {"offset between", with_tensor(gguf_tensor("x", {8}, kF32, 4)).bytes(),
       "tensor 'x'.offset must be a multiple of 32; got 4"},
      {"the file's own alignment", aligned.bytes(), "tensor 'x'.offset must be a multiple of 64"},
      {"alignment 0",
       with_pair(gguf_pair("general.alignment", kUint32, little(std::uint32_t{0}))).bytes(),
       "general.alignment must be a power of two, of type uint32; got 0"},
      {"alignment 48",
       with_pair(gguf_pair("general.alignment", kUint32, little(std::uint32_t{48}))).bytes(),
       "general.alignment must be a power of two"},
      {"alignment as a text",
       with_pair(gguf_pair("general.alignment", kText, gguf_text("32"))).bytes(),
       "general.alignment must be a power of two"},
      {"overlap", overlap.bytes(), "tensor 'y'.offset must be at least 64"},
      {"tensor twice", twins.bytes(), "tensor 'x' must be in one file; got it twice"},
      {"tensor named as another's scales", scales.bytes(), "tensor 'x_block_scale' must be in one"},
  };
}

class GgufMalformed : public Scratch {};

TEST_F(GgufMalformed, EachHasItsSentence) {
  for (const Row& row : corpus()) {
    SCOPED_TRACE(row.name);
    write_file(path("x.gguf"), row.bytes);
    expect_error(row.code, row.fragment, [&] { (void)open_checkpoint(path("x.gguf")); });
  }
}

// A file is known by its first bytes; its name only says what was expected.
TEST_F(GgufMalformed, TheNameCountsWhereTheBytesAreOthers) {
  write_file(path("x.gguf"), raw_file("{}"));
  expect_error(Code::corrupt_data, "a GGUF file must begin with 'GGUF'",
               [&] { (void)open_checkpoint(path("x.gguf")); });
  write_file(path("y"), GgufFile{}.bytes());
  EXPECT_TRUE(open_checkpoint(path("y")).entries().empty());
}

// Headers are read a piece at a time: every length and number lies across a border of some.
TEST_F(GgufMalformed, LongHeadersAreReadWhole) {
  for (std::size_t first = 0; first < 16; ++first) {
    GgufFile file = with_tensor(gguf_tensor("x", {16}, kF32, 0));
    std::string texts =
        little(kText) + little(std::uint64_t{40'000}) + gguf_text(std::string(first, 'a'));
    for (int i = 1; i < 40'000; ++i) texts += gguf_text("bcd");
    file.pairs = {gguf_pair("texts", kArray, texts),
                  gguf_pair("z", kUint32, little(std::uint32_t{7}))};
    write_file(path("x.gguf"), file.bytes());
    const Checkpoint opened = open_checkpoint(path("x.gguf"));
    EXPECT_EQ(opened.metadata().at("texts"), "[40000 x string]");
    EXPECT_EQ(opened.metadata().at("z"), "7");
    EXPECT_EQ(opened.entries().size(), 1U);
  }
}

// Cut anywhere, a file is refused or is one whose tensors are all there.
TEST_F(GgufMalformed, EveryPrefixIsRefused) {
  GgufFile file = with_tensor(gguf_tensor("x", {32}, kQ8, 0), 34);
  file.pairs = {
      gguf_pair("general.architecture", kText, gguf_text("llama")),
      gguf_pair("k", kArray, little(kUint32) + little(std::uint64_t{2}) + std::string(8, 'v'))};
  const std::string whole = file.bytes();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    write_file(path("x.gguf"), whole.substr(0, size));
    EXPECT_THROW((void)open_checkpoint(path("x.gguf")), Error) << size;
  }
  write_file(path("x.gguf"), whole);
  EXPECT_EQ(open_checkpoint(path("x.gguf")).entries().size(), 2U);
}

}  // namespace
}  // namespace octavo::test::gguf_header_test
