// SPDX-License-Identifier: Apache-2.0
// Blocks transposed by every kernel table, and tiles of any size made of them: every element where
// it belongs, nothing read or written beside them.
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "backends/cpu/passes/turn.hpp"
#include "backends/cpu/row_kernels.hpp"
#include "block.hpp"

namespace octavo::test::block_transpose_test {
namespace {

// out[j][i] = in[i][j], rows `in_step` and `out_step` bytes apart; all other bytes as they were.
std::vector<std::uint8_t> transposed(std::int64_t size, const Block<std::uint8_t>& in,
                                     std::int64_t in_step, std::int64_t rows, std::int64_t columns,
                                     const Block<std::uint8_t>& out, std::int64_t out_step) {
  std::vector<std::uint8_t> want(out.data(), out.data() + out.size());
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < columns; ++j) {
      std::memcpy(want.data() + j * out_step + i * size, in.data() + i * in_step + j * size,
                  static_cast<std::size_t>(size));
    }
  }
  return want;
}

bool holds(const Block<std::uint8_t>& block, const std::vector<std::uint8_t>& want) {
  return std::memcmp(block.data(), want.data(), want.size()) == 0;
}

TEST(BlockTranspose, EveryTableAndSizeAtAnyAlignment) {
  constexpr std::int64_t kInStep = 71, kOutStep = 19;
  for (const cpu::Kernels* kernels : cpu::usable_kernels()) {
    for (const std::int64_t size : {1, 2, 4}) {
      const std::int64_t rows = 16 / size, columns = 64 / size;
      const Block<std::uint8_t> in((rows - 1) * kInStep + 64);
      const Block<std::uint8_t> out((columns - 1) * kOutStep + 16);
      in.fill_random(1);
      out.fill_random(2);
      const auto want = transposed(size, in, kInStep, rows, columns, out, kOutStep);
      kernels->transpose(size, in.data(), kInStep, out.data(), kOutStep);
      EXPECT_TRUE(holds(out, want)) << kernels->on_floats << ", elements of " << size << " bytes";
    }
  }
}

TEST(BlockTranspose, TilesOfAnySize) {
  for (const std::int64_t size : {1, 2, 4}) {
    for (const std::int64_t rows : {0, 1, 3, 4, 15, 16, 17, 40}) {
      for (const std::int64_t columns : {0, 1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 130}) {
        const std::int64_t in_step = columns * size + 5, out_step = rows * size + 3;
        const Block<std::uint8_t> in(rows > 0 ? rows * in_step - 5 : 0);
        const Block<std::uint8_t> out(columns > 0 ? columns * out_step - 3 : 0);
        in.fill_random(1);
        out.fill_random(2);
        const auto want = transposed(size, in, in_step, rows, columns, out, out_step);
        cpu::turn(size, in.data(), in_step, rows, columns, out.data(), out_step);
        EXPECT_TRUE(holds(out, want)) << rows << " x " << columns << " of " << size << " bytes";
      }
    }
  }
}

}  // namespace
}  // namespace octavo::test::block_transpose_test
