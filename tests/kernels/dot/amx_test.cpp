// SPDX-License-Identifier: Apache-2.0
// AMX's registers: shaped by whoever multiplies, and given up by every thread at the end.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "backends/cpu/dot/machines.hpp"
#include "core/cpu_features.hpp"
#include "octavo/octavo.hpp"

#if defined(__x86_64__)
namespace octavo::test::amx_test {
namespace {

/// Whether the processor would have to save tile registers for this thread now (XINUSE, which every
/// processor with AMX tells).
bool tiles_in_use() {
  unsigned low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(1));
  constexpr unsigned kTileData = 1U << 18;
  return (low & kTileData) != 0;
}

class Amx : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!this_cpu().amx_int8 || cpu::dot_machine().few_rows == nullptr) {
      GTEST_SKIP() << "this CPU has no AMX";
    }
  }
};

Tensor ones(std::int64_t rows, std::int64_t columns) {
  const Tensor all = Tensor::empty(DType::int8, {rows, columns});
  std::fill_n(all.data_as<std::int8_t>(), all.numel(), std::int8_t{1});
  return all;
}

// Rows of one and of two registers, of a depth that is no multiple of one, one call after another:
// registers are shaped anew in between, and never stay.
TEST_F(Amx, RegistersAreGivenUpAfterEveryProduct) {
  const ScaledMmOptions options{.out_dtype = DType::int32};
  const ExecContext serial{.executor = &serial_executor()};
  for (const std::int64_t rows : {33, 9, 64, 8, 17, 1, 40}) {
    for (const std::int64_t depth : {1, 63, 64, 200}) {
      const Tensor a = ones(rows, depth), b = ones(48, depth);
      const Tensor c = scaled_mm(Operand(a), Operand(b.view().transposed()), options, serial);
      EXPECT_FALSE(tiles_in_use()) << rows << "x" << depth;
      for (std::int64_t i = 0; i < c.numel(); ++i) {
        ASSERT_EQ(depth, c.data_as<std::int32_t>()[i]) << rows << " " << i;
      }
    }
  }
}

// A few rows read the weight in place, with registers of another shape; more rows pack it.
TEST_F(Amx, RegistersAreGivenUpAfterProductsOfFloats) {
  const ScaledMmOptions options{.out_dtype = DType::float32};
  const ExecContext serial{.executor = &serial_executor()};
  constexpr std::uint16_t kOne = 0x3F80;
  const auto filled = [&](std::int64_t rows, std::int64_t columns) {
    const Tensor all = Tensor::empty(DType::bfloat16, {rows, columns});
    std::fill_n(all.data_as<std::uint16_t>(), all.numel(), kOne);
    return all;
  };
  for (const std::int64_t rows : {1, 17, 16, 3, 40, 2}) {
    for (const std::int64_t depth : {1, 31, 64, 200}) {
      const Tensor a = filled(rows, depth), b = filled(48, depth);
      const Tensor c = scaled_mm(Operand(a), Operand(b.view().transposed()), options, serial);
      EXPECT_FALSE(tiles_in_use()) << rows << "x" << depth;
      for (std::int64_t i = 0; i < c.numel(); ++i) {
        ASSERT_EQ(static_cast<float>(depth), c.data_as<float>()[i]) << rows << " " << i;
      }
    }
  }
}

// Code beside us may have shaped them for itself, and releases them when it likes.
TEST_F(Amx, ATileAfterItsRegistersWereGivenUpShapesThemAgain) {
  const cpu::IntegerKernels& kernels = *cpu::dot_machine().integers;
  alignas(64) static std::array<std::int8_t, 16 * 64> b{};
  alignas(64) static std::array<std::int32_t, 32 * 64> c{};
  const std::vector<std::int8_t> a(32 * 64, 1);
  b.fill(1);
  for (int call = 0; call < 3; ++call) {
    c.fill(0);
    kernels.dot.tile(32, 1, 0)({.depth = 64,
                                .a = a.data(),
                                .lda = 64,
                                .b = b.data(),
                                .ldb = 64,
                                .c = c.data(),
                                .add = false,
                                .ahead = nullptr});
    EXPECT_TRUE(tiles_in_use());
    kernels.leave();
    EXPECT_FALSE(tiles_in_use());
    for (std::int64_t r = 0; r < 32; ++r) {
      for (std::int64_t j = 0; j < 16; ++j) {
        ASSERT_EQ(64, c[static_cast<std::size_t>(r * 64 + j)]);
      }
    }
  }
}

}  // namespace
}  // namespace octavo::test::amx_test
#endif
