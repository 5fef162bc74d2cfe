// SPDX-License-Identifier: Apache-2.0
// What C sees is what C++ and DLPack say.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <fstream>
#include <map>
#include <regex>
#include <string>
#include <utility>

#include "octavo/octavo.h"
#include "octavo/octavo.hpp"
#include "support/source_folder.hpp"

namespace octavo::test::layout_test {
namespace {

// DLTensor of DLPack 1.1, written down again.
struct DLTensor {
  void* data;
  struct {
    std::int32_t device_type, device_id;
  } device;
  std::int32_t ndim;
  struct {
    std::uint8_t code, bits;
    std::uint16_t lanes;
  } dtype;
  std::int64_t* shape;
  std::int64_t* strides;
  std::uint64_t byte_offset;
};

static_assert(sizeof(octavo_view) == sizeof(DLTensor));
static_assert(offsetof(octavo_view, data) == offsetof(DLTensor, data));
static_assert(offsetof(octavo_view, device) == offsetof(DLTensor, device));
static_assert(offsetof(octavo_view, ndim) == offsetof(DLTensor, ndim));
static_assert(offsetof(octavo_view, dtype) == offsetof(DLTensor, dtype));
static_assert(offsetof(octavo_view, shape) == offsetof(DLTensor, shape));
static_assert(offsetof(octavo_view, strides) == offsetof(DLTensor, strides));
static_assert(offsetof(octavo_view, byte_offset) == offsetof(DLTensor, byte_offset));
static_assert(offsetof(octavo_dtype, lanes) == 2 && sizeof(octavo_device) == 8);

// The types that octavo/c/base.h defines: OCTAVO_FLOAT8_E4M3FN and its kin.
std::map<std::string, std::pair<int, int>> macros() {
  const std::string path = in_checkout("include/octavo/c/base.h");
  std::ifstream in(path);
  EXPECT_TRUE(in) << path;
  static const std::regex define(R"(#define OCTAVO_(\w+) OCTAVO_DTYPE_\((\d+), (\d+)\))");
  std::map<std::string, std::pair<int, int>> found;
  std::smatch m;
  for (std::string line; std::getline(in, line);) {
    if (std::regex_match(line, m, define)) found[m[1]] = {std::stoi(m[2]), std::stoi(m[3])};
  }
  return found;
}

TEST(CApiLayout, DataTypesAreThoseOfTheTable) {
  std::map<std::string, std::pair<int, int>> defined = macros();
  for (const DTypeInfo& row : kDTypes) {
    if (row.kind == DTypeKind::none || row.kind == DTypeKind::foreign) continue;
    std::string upper(row.name);
    std::ranges::transform(upper, upper.begin(),
                           [](char c) { return static_cast<char>(std::toupper(c)); });
    EXPECT_EQ(defined.count(upper), 1U) << "octavo/c/base.h has no OCTAVO_" << upper;
    EXPECT_EQ(defined[upper], (std::pair<int, int>{row.dlpack_code, row.bits})) << upper;
    defined.erase(upper);
    const octavo_dtype c{row.dlpack_code, row.bits, 1};
    EXPECT_EQ(octavo_dtype_name(c), row.name);
    EXPECT_EQ(octavo_qmax(c), qmax(row.dtype)) << row.name;
    octavo_dtype again{};
    ASSERT_EQ(octavo_dtype_from_name(std::string(row.name).c_str(), &again), OCTAVO_OK);
    EXPECT_EQ(again.code, c.code);
    EXPECT_EQ(again.bits, c.bits);
  }
  EXPECT_TRUE(defined.empty()) << defined.begin()->first << " is no type of the table";
  EXPECT_STREQ(octavo_dtype_name({0, 0, 0}), "undefined");
  EXPECT_STREQ(octavo_dtype_name({200, 8, 1}), "undefined");
}

TEST(CApiLayout, NumbersHaveTheNamesOfCxx) {
  for (int code = OCTAVO_OK; code <= OCTAVO_INTERNAL; ++code) {
    EXPECT_STREQ(octavo_code_name(code), code_name(static_cast<Code>(code)));
  }
  EXPECT_STREQ(octavo_code_name(-1), "unknown");
  EXPECT_STREQ(octavo_code_name(OCTAVO_INTERNAL + 1), "unknown");
  for (int s = OCTAVO_INT8_DYNAMIC; s <= OCTAVO_MXFP8; ++s) {
    EXPECT_EQ(octavo_scheme_name(s), scheme_name(static_cast<Scheme>(s)));
  }
  EXPECT_STREQ(octavo_scheme_name(-1), "unknown");
  EXPECT_STREQ(octavo_scheme_name(OCTAVO_MXFP8 + 1), "unknown");
  using Kind = Granularity::Kind;
  EXPECT_EQ(OCTAVO_PER_TENSOR, static_cast<int>(Kind::tensor));
  EXPECT_EQ(OCTAVO_PER_TOKEN, static_cast<int>(Kind::token));
  EXPECT_EQ(OCTAVO_PER_CHANNEL, static_cast<int>(Kind::channel));
  EXPECT_EQ(OCTAVO_GROUP, static_cast<int>(Kind::group));
  EXPECT_EQ(OCTAVO_BLOCK, static_cast<int>(Kind::block));
  EXPECT_EQ(OCTAVO_PER_K, static_cast<int>(Kind::per_k));
  EXPECT_EQ(OCTAVO_ROUNDING_MX_FLOOR, static_cast<int>(ScaleRounding::mx_floor));
  EXPECT_EQ(OCTAVO_BLOCK_WISE_1X32, static_cast<int>(functional::ScalingType::BlockWise1x32));
}

}  // namespace
}  // namespace octavo::test::layout_test
