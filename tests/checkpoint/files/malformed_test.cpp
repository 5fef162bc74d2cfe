// SPDX-License-Identifier: Apache-2.0
// Files that break a rule of the format: each gets an error that says which, and never a tensor.
#include <string>
#include <vector>

#include "checkpoint/support.hpp"

namespace octavo::test::malformed_test {
namespace {

struct Row {
  const char* name;
  std::string bytes;
  const char* fragment;
};

std::string entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return "\"" + name + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" +
         offsets + "}";
}

std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return "{" + entry("x", dtype, shape, offsets) + "}";
}

std::string two(const std::string& first, const std::string& second) {
  return "{" + entry("x", "U8", "[4]", first) + "," + entry("y", "U8", "[4]", second) + "}";
}

// The reference reader's rules and the malformed files that other loaders have tripped over.
std::vector<Row> corpus() {
  const std::string good = one("U8", "[4]", "[0,4]");
  const std::string long_name(65537, 'n');
  return {
      // The length and the size of the file.
      {"empty file", "", "must have at least 8 bytes; got 0"},
      {"seven bytes", std::string(7, '\0'), "must have at least 8 bytes; got 7"},
      {"header beyond the limit", raw_file(100'000'001, good, "abcd"),
       "must be at most 100000000 bytes; got 100000001"},
      {"8 + length wraps", raw_file(~std::uint64_t{0} - 7, good, "abcd"), "must be at most"},
      {"length of all ones", raw_file(~std::uint64_t{0}, good, "abcd"), "must be at most"},
      {"header longer than the file", raw_file(good.size() + 5, good, "abcd"),
       "must be at most the 57 bytes that follow it; got 58"},
      {"trailing bytes", raw_file(good, 5), "must be as long as its tensors, 4 bytes; got 5"},
      {"truncated download", raw_file(good, 3), "4 bytes; got 3, a truncated file"},

      // JSON.
      {"empty header", raw_file(0, "", ""), "header must be a JSON object"},
      {"no object", raw_file("[]"), "header must be a JSON object"},
      {"byte order mark", raw_file("\xEF\xBB\xBF{}"), "header must be a JSON object"},
      {"only white space", raw_file("   "), "header must be a JSON object"},
      {"cut off", raw_file("{\"x\":"), "must be JSON in UTF-8; got a syntax error"},
      {"text after the object", raw_file("{} x"), "must be JSON in UTF-8"},
      {"two objects", raw_file("{}{}"), "must be JSON in UTF-8"},
      {"NUL after the object", raw_file(std::string("{}\0\0", 4)), "header must be a JSON object"},
      {"comment", raw_file("{/* */}"), "must be JSON in UTF-8"},
      {"trailing comma", raw_file("{\"x\":1,}"), "must be"},
      {"invalid UTF-8 in a name", raw_file("{\"\xC3\x28\":{}}"), "must be JSON in UTF-8"},
      {"overlong UTF-8", raw_file("{\"\xC0\x80\":{}}"), "must be JSON in UTF-8"},
      {"lone surrogate", raw_file(R"({"\ud800":{}})"), "must be JSON in UTF-8"},
      {"control character in a name", raw_file("{\"a\nb\":{}}"), "must be JSON in UTF-8"},
      {"NaN", raw_file(one("U8", "[NaN]", "[0,4]"), 4), "must be JSON in UTF-8"},
      {"number out of range", raw_file(one("U8", "[1e999]", "[0,4]"), 4), "a number out of range"},
      {"depth bomb", raw_file("{\"x\":" + std::string(1 << 20, '[')), "must be a JSON object"},
      {"depth bomb in an unknown field", raw_file(R"({"x":{"other":)" + std::string(1 << 20, '[')),
       "nest at most 4 levels"},
      {"depth bomb of objects in an unknown field", raw_file(R"({"x":{"o":{"o":{"o":{"o":1}}}}})"),
       "nest at most 4 levels"},
      {"long name", raw_file("{\"" + long_name + "\":{}}"), "a name of at most 65536 bytes"},

      // Structure.
      {"tensor is a number", raw_file("{\"x\":1}"),
       "entry 'x' must be a JSON object; got a number"},
      {"tensor is null", raw_file("{\"x\":null}"), "entry 'x' must be a JSON object; got null"},
      {"tensor is an array", raw_file("{\"x\":[\"U8\",[4],[0,4]]}"), "entry 'x' must be"},
      {"no dtype", raw_file(R"({"x":{"shape":[4],"data_offsets":[0,4]}})", 4),
       "tensor 'x'.dtype must be there"},
      {"no shape", raw_file(R"({"x":{"dtype":"U8","data_offsets":[0,4]}})", 4),
       "tensor 'x'.shape must be there"},
      {"no offsets", raw_file(R"({"x":{"dtype":"U8","shape":[4]}})", 4),
       "tensor 'x'.data_offsets must be there"},
      {"dtype is a number", raw_file(R"({"x":{"dtype":8,"shape":[4],"data_offsets":[0,4]}})", 4),
       "tensor 'x'.dtype must be a string; got a number"},
      {"shape is a number", raw_file(one("U8", "4", "[0,4]"), 4), "'x'.shape must be an array"},
      {"shape holds text", raw_file(one("U8", "[\"4\"]", "[0,4]"), 4),
       "'x'.shape must hold integers"},
      {"shape is nested", raw_file(one("U8", "[[4]]", "[0,4]"), 4), "'x'.shape must hold integers"},
      {"negative extent", raw_file(one("U8", "[-4]", "[0,4]"), 4), "must hold integers from 0"},
      {"negative extents", raw_file(one("U8", "[-2,-2]", "[0,4]"), 4), "got -2"},
      {"minus zero", raw_file(one("U8", "[-0]", "[0,0]")), "must hold integers from 0"},
      {"fraction", raw_file(one("U8", "[4.0]", "[0,4]"), 4), "got 4.0"},
      {"exponent", raw_file(one("U8", "[4e0]", "[0,4]"), 4), "got 4e0"},
      {"extent 2^63", raw_file(one("U8", "[9223372036854775808]", "[0,4]"), 4),
       "got 9223372036854775808"},
      {"extent 2^64", raw_file(one("U8", "[18446744073709551616]", "[0,4]"), 4),
       "'x'.shape must hold integers"},
      {"boolean offset", raw_file(one("U8", "[4]", "[false,4]"), 4), "got a boolean"},
      {"one offset", raw_file(one("U8", "[4]", "[4]"), 4), "must hold two offsets; got 1"},
      {"no offset", raw_file(one("U8", "[4]", "[]"), 4), "must hold two offsets; got 0"},
      {"three offsets", raw_file(one("U8", "[4]", "[0,4,4]"), 4), "must hold two offsets; got 3"},
      {"negative offset", raw_file(one("U8", "[4]", "[-4,0]"), 4), "'x'.data_offsets must hold"},

      // Names.
      {"duplicate tensor",
       raw_file(
           "{" + entry("x", "U8", "[4]", "[0,4]") + "," + entry("x", "U8", "[4]", "[4,8]") + "}",
           8),
       "tensor 'x' must be in the header once; got it twice"},
      {"duplicate tensor, equal",
       raw_file("{" + entry("x", "U8", "[0]", "[0,0]") + "," + entry("x", "U8", "[0]", "[0,0]") +
                "}"),
       "tensor 'x' must be in the header once"},
      {"duplicate by escape",
       raw_file("{" + entry("x", "U8", "[0]", "[0,0]") + "," +
                entry("\\u0078", "U8", "[0]", "[0,0]") + "}"),
       "tensor 'x' must be in the header once"},
      {"duplicate field",
       raw_file(R"({"x":{"dtype":"U8","dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 4),
       "tensor 'x'.dtype must be there once"},
      {"newline in a name", raw_file(R"({"a\nb":1})"), "entry 'a\\x0ab' must be a JSON object"},

      // Metadata.
      {"metadata is a number", raw_file(R"({"__metadata__":1})"), "'__metadata__' must be"},
      {"number in the metadata", raw_file(R"({"__metadata__":{"a":1}})"),
       "'__metadata__' must hold strings only; got a number"},
      {"object in the metadata", raw_file(R"({"__metadata__":{"a":{}}})"),
       "'__metadata__' must hold strings only; got an object"},
      {"null in the metadata", raw_file(R"({"__metadata__":{"a":null}})"), "got null"},
      {"metadata twice", raw_file(R"({"__metadata__":{},"__metadata__":{}})"),
       "once; got it twice"},
      {"key twice in the metadata", raw_file(R"({"__metadata__":{"a":"1","a":"2"}})"),
       "metadata 'a' must be there once"},

      // Layout.
      {"first tensor begins late", raw_file(one("U8", "[4]", "[1,5]"), 5),
       "must begin at 0, where the tensor before it ends; got [1, 5], a hole"},
      {"hole", raw_file(two("[0,4]", "[5,9]"), 9),
       "tensor 'y'.data_offsets must begin at 4, where the tensor before it ends; got [5, 9], a "
       "hole"},
      {"overlap", raw_file(two("[0,4]", "[3,7]"), 7), "got [3, 7], an overlap"},
      {"same bytes twice", raw_file(two("[0,4]", "[0,4]"), 4), "got [0, 4], an overlap"},
      {"reversed offsets", raw_file(one("U8", "[4]", "[4,0]"), 4),
       "must not end before they begin; got [4, 0]"},
      {"offsets beyond the file",
       raw_file(one("U8", "[9223372036854775807]", "[0,9223372036854775807]"), 4),
       "a truncated file"},
      {"span longer than the shape", raw_file(one("U8", "[4]", "[0,8]"), 8),
       "must span the 4 bytes of U8 [4]; got [0, 8]"},
      {"span shorter than the shape", raw_file(one("F32", "[4]", "[0,4]"), 4),
       "must span the 16 bytes of F32 [4]; got [0, 4]"},
      {"product wraps to 0", raw_file(one("U8", "[4294967296,4294967296]", "[0,0]")),
       "must count less than 2^64 bits"},
      {"product wraps, then 0", raw_file(one("U8", "[4294967296,4294967296,0]", "[0,0]")),
       "must count less than 2^64 bits"},
      {"bytes wrap", raw_file(one("F64", "[2305843009213693952]", "[0,0]")),
       "must count less than 2^64 bits"},
      {"half a byte", raw_file(one("F4", "[3]", "[0,2]"), 2),
       "must fill whole bytes; got [3] of F4"},
      {"six-bit type", raw_file(one("F6_E2M3", "[2]", "[0,2]"), 2), "must fill whole bytes"},
      {"unknown type", raw_file(one("F8_NEW", "[4]", "[0,4]"), 4),
       "tensor 'x'.dtype must be a safetensors type; got 'F8_NEW'"},
      {"lower-case type", raw_file(one("f32", "[1]", "[0,4]"), 4), "got 'f32'"},
      {"unknown type with bad offsets", raw_file(one("F8_NEW", "[4]", "[0,4000]"), 4),
       "a truncated file"},
  };
}

using Malformed = Scratch;

TEST_F(Malformed, EveryRowGetsItsSentence) {
  for (const Row& row : corpus()) {
    SCOPED_TRACE(row.name);
    write_file(path("bad.safetensors"), row.bytes);
    expect_error(Code::corrupt_data, row.fragment,
                 [&] { open_checkpoint(path("bad.safetensors")); });
  }
}

TEST_F(Malformed, EverySentenceNamesTheFileAndAnOffset) {
  for (const Row& row : corpus()) {
    SCOPED_TRACE(row.name);
    write_file(path("bad.safetensors"), row.bytes);
    expect_error(Code::corrupt_data, "bad.safetensors', offset ",
                 [&] { open_checkpoint(path("bad.safetensors")); });
  }
}

TEST_F(Malformed, TheOffsetIsThatOfTheFault) {
  const std::string json = R"({"x":{"dtype":"U8","shape":[4,true],"data_offsets":[0,4]}})";
  write_file(path("bad"), raw_file(json, 4));
  const std::size_t after = 8 + json.find("true") + 4;
  expect_error(Code::corrupt_data, "offset " + std::to_string(after) + ")",
               [&] { open_checkpoint(path("bad")); });
}

TEST_F(Malformed, AFileCutAtAnyByteIsAnError) {
  write_safetensors(path("whole"),
                    {stored<float>("a", "F32", {2, 3}, {1, 2, 3, 4, 5, 6}),
                     stored<std::int8_t>("b", "I8", {5}, {1, 2, 3, 4, 5})},
                    {{"key", "value"}});
  const std::string whole = read_file(path("whole"));
  ASSERT_GT(whole.size(), 4096U);
  for (std::size_t cut = 0; cut < whole.size(); ++cut) {
    SCOPED_TRACE(cut);
    write_file(path("cut"), std::string_view(whole).substr(0, cut));
    EXPECT_THROW(open_checkpoint(path("cut")), Error);
  }
  EXPECT_NO_THROW(open_checkpoint(path("whole")));
}

// Whatever one byte is changed to, the file opens with tensors inside it or is refused.
TEST_F(Malformed, AChangedByteNeverReachesOutsideTheFile) {
  const std::string json =
      "{" + entry("a", "F32", "[2]", "[0,8]") + "," + entry("b", "I8", "[3]", "[8,11]") + "}";
  const std::string whole = raw_file(json, 11);
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (const int flip : {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xFF}) {
      std::string changed = whole;
      changed[at] = static_cast<char>(changed[at] ^ flip);
      write_file(path("changed"), changed);
      try {
        const Checkpoint file = open_checkpoint(path("changed"));
        for (const TensorEntry& e : file.entries()) file.bytes(e.name);
      } catch (const Error& error) {
        EXPECT_EQ(Code::corrupt_data, error.code()) << error.what();
      }
    }
  }
}

TEST_F(Malformed, AFileThatShrinksWhileItIsOpenIsAnIoError) {
  write_safetensors(path("x"), {stored<std::int8_t>("b", "I8", {5}, {1, 2, 3, 4, 5})});
  const Checkpoint file = open_checkpoint(path("x"));
  std::filesystem::resize_file(path("x"), 4098);
  expect_error(Code::io, "must keep its 4101 bytes while it is open", [&] { file.tensor("b"); });
}

TEST_F(Malformed, AMissingFileIsUnavailable) {
  expect_error(Code::unavailable, "cannot open file", [&] { open_checkpoint(path("none")); });
  write_file(path("file"), "");
  expect_error(Code::unavailable, "cannot open", [&] { open_checkpoint(path("file/below")); });
}

}  // namespace
}  // namespace octavo::test::malformed_test
