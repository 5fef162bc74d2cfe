// SPDX-License-Identifier: Apache-2.0
// What C sees is what C++ and DLPack say.
#include <gtest/gtest.h>

#include <cstddef>
#include <string>

#include "octavo/octavo.h"
#include "octavo/octavo.hpp"

namespace octavo::test {
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

TEST(CApiLayout, DataTypesAreThoseOfTheTable) {
  const struct {
    octavo_dtype c;
    DType dtype;
  } rows[] = {{OCTAVO_FLOAT8_E4M3FN, float8_e4m3fn},
              {OCTAVO_FLOAT8_E4M3FNUZ, float8_e4m3fnuz},
              {OCTAVO_FLOAT8_E5M2, float8_e5m2},
              {OCTAVO_FLOAT8_E5M2FNUZ, float8_e5m2fnuz},
              {OCTAVO_FLOAT8_E8M0FNU, float8_e8m0fnu},
              {OCTAVO_BFLOAT16, bfloat16},
              {OCTAVO_FLOAT16, float16},
              {OCTAVO_FLOAT32, float32},
              {OCTAVO_INT8, int8},
              {OCTAVO_UINT8, uint8},
              {OCTAVO_INT32, int32},
              {OCTAVO_INT64, int64}};
  for (const auto& row : rows) {
    EXPECT_EQ(row.c.code, info(row.dtype).dlpack_code) << name(row.dtype);
    EXPECT_EQ(row.c.bits, info(row.dtype).bits) << name(row.dtype);
    EXPECT_EQ(octavo_dtype_name(row.c), name(row.dtype));
    EXPECT_EQ(octavo_qmax(row.c), qmax(row.dtype)) << name(row.dtype);
    octavo_dtype again{};
    ASSERT_EQ(octavo_dtype_from_name(std::string(name(row.dtype)).c_str(), &again), OCTAVO_OK);
    EXPECT_EQ(again.code, row.c.code);
    EXPECT_EQ(again.bits, row.c.bits);
  }
  EXPECT_STREQ(octavo_dtype_name({0, 0, 0}), "undefined");
  EXPECT_STREQ(octavo_dtype_name({200, 8, 1}), "undefined");
}

TEST(CApiLayout, NumbersHaveTheNamesOfCxx) {
  for (int code = OCTAVO_OK; code <= OCTAVO_INTERNAL; ++code) {
    EXPECT_STREQ(octavo_code_name(code), code_name(static_cast<Code>(code)));
  }
  EXPECT_STREQ(octavo_code_name(-1), "unknown");
  EXPECT_STREQ(octavo_code_name(OCTAVO_INTERNAL + 1), "unknown");
  for (int s = OCTAVO_INT8_DYNAMIC; s <= OCTAVO_LLM_INT8; ++s) {
    EXPECT_EQ(octavo_scheme_name(s), scheme_name(static_cast<Scheme>(s)));
  }
  EXPECT_STREQ(octavo_scheme_name(-1), "unknown");
  EXPECT_STREQ(octavo_scheme_name(OCTAVO_LLM_INT8 + 1), "unknown");
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
}  // namespace octavo::test
