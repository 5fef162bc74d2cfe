// SPDX-License-Identifier: Apache-2.0
// Number formats against tables made by ml_dtypes.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <set>
#include <sstream>

#include "octavo/octavo.hpp"
#include "support/source_folder.hpp"

namespace octavo {
namespace {

struct Row {
  DType dtype;
  std::string first, second;
};

std::vector<Row> golden(const std::string& file) {
  std::ifstream in(std::filesystem::path(test::in_checkout("tests/golden")) / file);
  EXPECT_TRUE(in) << file;
  std::vector<Row> rows;
  for (std::string line; std::getline(in, line);) {
    if (line.empty() || line.front() == '#') continue;
    std::istringstream words(line);
    std::string type;
    Row row;
    words >> type >> row.first >> row.second;
    row.dtype = dtype_from_name(type);
    EXPECT_NE(row.dtype, DType::undefined) << line;
    rows.push_back(row);
  }
  return rows;
}

float float_of(const std::string& hex) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(std::stoul(hex, nullptr, 16)));
}

// One element through the library's conversion of whole tensors.
std::uint8_t converted(float value, DType dtype) {
  const Tensor t = copy(TensorView(&value, DType::float32, {1}), dtype);
  return *t.data_as<std::uint8_t>();
}

std::uint32_t encode_as(DType dtype, float value, Overflow overflow) {
  static constexpr auto kEncode = by_float8<std::uint32_t (*)(float, Overflow) noexcept>(
      []<FloatFormat F>() { return &encode<F>; });
  if (dtype == DType::float8_e8m0fnu) return encode_e8m0(value);
  return kEncode[static_cast<std::size_t>(dtype)](value, overflow);
}

const std::array<float, 256>& values_of(DType dtype) {
  return dtype == DType::float8_e8m0fnu ? kE8M0Values : code_values(dtype);
}

// Types of 8 bits that are floats: each has rows in the golden tables.
std::size_t float8_types() {
  return static_cast<std::size_t>(std::ranges::count_if(kDTypes, [](const DTypeInfo& row) {
    return row.kind == DTypeKind::float8 || row.kind == DTypeKind::scale8;
  }));
}

TEST(Codec, All256CodesOfEachFloat8Type) {
  const std::vector<Row> rows = golden("decode.txt");
  ASSERT_EQ(rows.size(), float8_types() * 256U);
  for (const Row& row : rows) {
    const auto code = static_cast<std::uint8_t>(std::stoul(row.first, nullptr, 16));
    const float table = values_of(row.dtype)[code];
    const float tensor = *copy(TensorView(&code, row.dtype, {1}), DType::float32).data_as<float>();
    if (row.second == "nan") {
      EXPECT_TRUE(std::isnan(table) && std::isnan(tensor)) << name(row.dtype) << ' ' << row.first;
      continue;
    }
    const auto want = std::bit_cast<std::uint32_t>(float_of(row.second));
    EXPECT_EQ(std::bit_cast<std::uint32_t>(table), want) << name(row.dtype) << ' ' << row.first;
    EXPECT_EQ(std::bit_cast<std::uint32_t>(tensor), want) << name(row.dtype) << ' ' << row.first;
  }
}

TEST(Codec, EveryMidpointRoundsToEvenAndOverflowsLikeIeee) {
  const std::vector<Row> rows = golden("encode.txt");
  std::set<DType> seen;
  for (const Row& row : rows) seen.insert(row.dtype);
  EXPECT_EQ(seen.size(), float8_types());
  ASSERT_GT(rows.size(), 4U * 700U);
  for (const Row& row : rows) {
    const float x = float_of(row.first);
    const std::uint32_t want = static_cast<std::uint32_t>(std::stoul(row.second, nullptr, 16));
    const std::uint32_t got = encode_as(row.dtype, x, Overflow::ieee);
    const bool want_nan = std::isnan(values_of(row.dtype)[want]);
    const bool got_nan = std::isnan(values_of(row.dtype)[got]);
    const bool saturated = row.dtype == DType::float8_e8m0fnu && want_nan && got == 0xFEU;
    EXPECT_TRUE(got == want || (want_nan && got_nan) || saturated)
        << name(row.dtype) << " of " << row.first << ": got " << std::hex << got << ", want "
        << want;
    if (want_nan || std::isinf(values_of(row.dtype)[want])) continue;
    EXPECT_EQ(converted(x, row.dtype), want) << name(row.dtype) << " of " << row.first;
  }
}

TEST(Codec, IntegersRoundToEvenAndSaturate) {
  for (const Row& row : golden("integer.txt")) {
    const float x = float_of(row.first);
    const int want = std::stoi(row.second);
    const std::uint8_t got = converted(x, row.dtype);
    EXPECT_EQ(row.dtype == DType::int8 ? int{static_cast<std::int8_t>(got)} : int{got}, want)
        << name(row.dtype) << " of " << x;
  }
}

TEST(Codec, Int32RoundsToEvenSaturatesAndTakesNaNAsZero) {
  const std::pair<float, std::int32_t> rows[] = {
      {0.5F, 0},
      {1.5F, 2},
      {2.5F, 2},
      {-0.5F, 0},
      {-1.5F, -2},
      {4194304.5F, 4194304},
      {4194305.5F, 4194306},
      {-8388607.5F, -8388608},
      {8388609.0F, 8388609},
      {2147483648.0F, 2147483647},
      {-2147483648.0F, std::numeric_limits<std::int32_t>::min()},
      {1e20F, 2147483647},
      {-1e20F, std::numeric_limits<std::int32_t>::min()},
      {std::nanf(""), 0}};
  for (const auto& [x, want] : rows) EXPECT_EQ(round_to_int32(x), want) << x;
}

TEST(Codec, FiniteOverflowSaturatesButInfinityStaysWhereTheFormatHasOne) {
  const float inf = std::numeric_limits<float>::infinity();
  for (const DTypeInfo& row : kDTypes) {
    if (row.kind != DTypeKind::float8) continue;
    const auto& values = values_of(row.dtype);
    EXPECT_EQ(values[converted(1e30F, row.dtype)], row.max) << row.name;
    EXPECT_EQ(values[converted(-1e30F, row.dtype)], -row.max) << row.name;
    EXPECT_EQ(values[converted(inf, row.dtype)], row.has_inf ? inf : row.max) << row.name;
    EXPECT_EQ(values[converted(-inf, row.dtype)], row.has_inf ? -inf : -row.max) << row.name;
    EXPECT_TRUE(std::isnan(values[converted(std::nanf(""), row.dtype)])) << row.name;
  }
}

TEST(Codec, SixteenBitFloatsRoundTripAndRoundToEven) {
  for (std::uint32_t code = 0; code < 0x10000U; ++code) {
    const float half = decode<kFloat16>(code);
    const float bf = decode<kBFloat16>(code);
    EXPECT_TRUE(std::isnan(half) || encode<kFloat16>(half, Overflow::ieee) == code) << code;
    EXPECT_TRUE(std::isnan(bf) || encode<kBFloat16>(bf, Overflow::ieee) == code) << code;
    // Between two neighbours the even code wins.
    const float next_half = decode<kFloat16>(code + 1);
    if (std::isfinite(half) && std::isfinite(next_half) && (code & 0x7FFFU) < 0x7BFFU) {
      const float middle = (half + next_half) / 2.0F;
      EXPECT_EQ(encode<kFloat16>(middle, Overflow::ieee), (code & 1U) != 0 ? code + 1 : code);
    }
  }
  EXPECT_EQ(encode<kFloat16>(65520.0F, Overflow::ieee), 0x7C00U);
  EXPECT_EQ(encode<kFloat16>(65519.0F, Overflow::ieee), 0x7BFFU);
}

TEST(Codec, PowersOfTwoBelowTheSmallestNormalNumber) {
  EXPECT_EQ(encode_e8m0(0.0F), 0U);
  EXPECT_EQ(encode_e8m0(0x1p-127F), 0U);
  EXPECT_EQ(encode_e8m0(0x1.7ffffcp-127F), 0U);
  EXPECT_EQ(encode_e8m0(0x1.8p-127F), 1U);  // a tie goes up
  EXPECT_EQ(encode_e8m0(0x1p-126F), 1U);
  EXPECT_EQ(encode_e8m0(std::numeric_limits<float>::max()), 0xFEU);
  EXPECT_EQ(encode_e8m0(-1.0F), 0xFFU);
}

TEST(Codec, MinusZeroKeepsItsSignExceptWhereItDoesNotExist) {
  EXPECT_EQ(converted(-0.0F, DType::float8_e4m3fn), 0x80);
  EXPECT_EQ(converted(-0.0F, DType::float8_e5m2), 0x80);
  EXPECT_EQ(converted(-0.0F, DType::float8_e4m3fnuz), 0x00);
  EXPECT_EQ(converted(-1e-20F, DType::float8_e4m3fnuz), 0x00);
  EXPECT_EQ(converted(-1e-20F, DType::float8_e5m2fnuz), 0x00);
}

TEST(DTypeTable, NamesLeadBackToTheirRow) {
  for (const DTypeInfo& row : kDTypes) {
    EXPECT_EQ(dtype_from_name(row.name), row.dtype);
    EXPECT_EQ(dtype_from_name(row.short_name), row.dtype);
    EXPECT_TRUE(row.safetensors.empty() || dtype_from_name(row.safetensors) == row.dtype)
        << row.name;
  }
  EXPECT_EQ(dtype_from_name("float7"), DType::undefined);
}

}  // namespace
}  // namespace octavo
