// SPDX-License-Identifier: Apache-2.0
// Number formats against tables made by ml_dtypes.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>

#include "octavo/octavo.hpp"
#include "support/source_folder.hpp"

namespace octavo {
namespace {

// A record of a golden table.
struct Row {
  float value;
  std::uint8_t code;
};

// The records of a .npy file, which begins with its magic, a version, and a header whose length is
// bytes 8 and 9.
std::vector<Row> golden(DType dtype, const std::string& direction) {
  constexpr std::size_t kPrologue = 10, kRecord = sizeof(float) + 1;
  const std::string file = std::string(name(dtype)) + '.' + direction + ".npy";
  std::ifstream in(std::filesystem::path(test::in_checkout("tests/golden")) / file,
                   std::ios::binary);
  const std::string bytes(std::istreambuf_iterator<char>(in), {});
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(bytes.at(i)); };
  std::vector<Row> rows;
  const std::size_t begin = kPrologue + byte(8) + 256U * byte(9);
  EXPECT_EQ((bytes.size() - begin) % kRecord, 0U) << file;
  for (std::size_t i = begin; i < bytes.size(); i += kRecord) {
    Row& row = rows.emplace_back(Row{0.0F, byte(i + sizeof(float))});
    std::memcpy(&row.value, &bytes[i], sizeof(float));
  }
  return rows;
}

std::uint32_t bits(float value) { return std::bit_cast<std::uint32_t>(value); }

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

// Types of 8 bits that are floats.
std::vector<DType> float8_types() {
  std::vector<DType> types;
  for (const DTypeInfo& row : kDTypes) {
    if (row.kind == DTypeKind::float8 || row.kind == DTypeKind::scale8) types.push_back(row.dtype);
  }
  return types;
}

TEST(Codec, All256CodesOfEachFloat8Type) {
  for (const DType dtype : float8_types()) {
    const std::vector<Row> rows = golden(dtype, "decode");
    ASSERT_EQ(rows.size(), 256U) << name(dtype);
    for (const auto& [want, code] : rows) {
      const float table = values_of(dtype)[code];
      const float tensor = *copy(TensorView(&code, dtype, {1}), DType::float32).data_as<float>();
      for (const float got : {table, tensor}) {
        EXPECT_TRUE(std::isnan(want) ? std::isnan(got) : bits(got) == bits(want))
            << name(dtype) << ' ' << int{code} << ": got " << got << ", want " << want;
      }
    }
  }
}

TEST(Codec, EveryMidpointRoundsToEvenAndOverflowsLikeIeee) {
  for (const DType dtype : float8_types()) {
    const std::vector<Row> rows = golden(dtype, "encode");
    ASSERT_GT(rows.size(), 700U) << name(dtype);
    for (const auto& [x, want] : rows) {
      const std::uint32_t got = encode_as(dtype, x, Overflow::ieee);
      const bool want_nan = std::isnan(values_of(dtype)[want]);
      const bool got_nan = std::isnan(values_of(dtype)[got]);
      const bool saturated = dtype == DType::float8_e8m0fnu && want_nan && got == 0xFEU;
      EXPECT_TRUE(got == want || (want_nan && got_nan) || saturated)
          << name(dtype) << " of " << x << ": got " << got << ", want " << int{want};
      if (want_nan || std::isinf(values_of(dtype)[want])) continue;
      EXPECT_EQ(converted(x, dtype), want) << name(dtype) << " of " << x;
    }
  }
}

TEST(Codec, IntegersRoundToEvenAndSaturate) {
  for (const DType dtype : {DType::int8, DType::uint8}) {
    const std::vector<Row> rows = golden(dtype, "encode");
    ASSERT_GT(rows.size(), 2U * 256U) << name(dtype);
    for (const auto& [x, want] : rows)
      EXPECT_EQ(converted(x, dtype), want) << name(dtype) << " of " << x;
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
