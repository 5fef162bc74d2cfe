// SPDX-License-Identifier: Apache-2.0
// Tiles that widen weights: bit for bit what the kernels beside which they stand make of the same
// numbers, and every number of 16 bits in every place (those of 8: float8_test.cpp).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "dot_operands.hpp"
#include "octavo/numeric.hpp"

namespace octavo::test::widened_test {
namespace {

using cpu::kPanelVectors;
using cpu::kVectorCols;

// Tiles that widen, and those that take the same numbers widened.
struct Beside {
  FloatTable tiles;
  const cpu::DotKernels* wide;
};

std::vector<Beside> widening_tables() {
  std::vector<Beside> found;
  const auto add = [&](const cpu::WideningKernels* kernels, DType a, const cpu::DotKernels* wide) {
    if (kernels == nullptr) return;
    const auto add_one = [&](const cpu::WideningKernels::Weight& weight, DType b) {
      if (weight.most_rows > 0) found.push_back({{&weight.dot, a, b}, wide});
    };
    add_one(kernels->int8, DType::int8);
    add_one(kernels->bfloat16, DType::bfloat16);
    add_one(kernels->float16, DType::float16);
  };
  for (const cpu::DotMachine& machine : tested_machines()) {
    add(machine.beside_floats, DType::float32, machine.floats);
    add(machine.beside_pairs, DType::bfloat16, cpu::packer_of_bfloat16(machine));
  }
  return found;
}

// The numbers of B as A's type.
Panel widened(const Beside& table, const FloatOperands& x) {
  Panel panel(table.wide->form, x.depth());
  for (std::int64_t k = 0; k < x.depth(); ++k) {
    for (std::int64_t j = 0; j < kCols; ++j) {
      kit::store(table.tiles.a, panel.at(k, j), 0, x.b_value(k, j));
    }
  }
  return panel;
}

// [rows][64] by one tile, added to numbers, to -0 in row 1.
std::vector<float> sums_of(const cpu::DotKernels& kernels, const Panel& b, const FloatOperands& x,
                           std::int64_t rows, std::int64_t vectors, int lines) {
  const Block<float> c((rows - 1) * kCols + vectors * kVectorCols);
  for (std::int64_t i = 0; i < c.size(); ++i) {
    c[i] = i / kCols == 1 ? -0.0F : static_cast<float>(i % kCols - 20);
  }
  kernels.tile(rows, vectors, lines)({.depth = x.depth_bytes(),
                                      .a = x.a().first(),
                                      .lda = x.a().lda(),
                                      .b = b.vector(0),
                                      .ldb = b.ldb(),
                                      .c = c.data(),
                                      .add = true,
                                      .ahead = b.vector(0),
                                      .first_level = rows % 2 == 0});
  return {c.data(), c.data() + c.size()};
}

// Row 1 is zeros, whose sums stay -0 where all weights are negative: whoever multiplies more zeros
// than there are makes them 0.
TEST(WideningTiles, HaveTheBitsOfTheKernelsBesideThem) {
  for (const Beside& table : widening_tables()) {
    const cpu::DotKernels& tiles = *table.tiles.kernels;
    for (const std::int64_t depth : {1, 2, 3, 4, 5, 6, 7, 8, 11, 34, 257}) {
      const FloatOperands x(table.tiles, Lie::ends_at_guards, depth);
      std::memset(x.a().row(1), 0, static_cast<std::size_t>(x.depth_bytes()));
      const Panel wide = widened(table, x);
      for_each_tile(tiles, [&](std::int64_t rows, std::int64_t vectors, int lines) {
        const std::int64_t most = max_rows(*table.wide, vectors);
        const std::vector<float> got = sums_of(tiles, x.b(), x, rows, vectors, lines);
        const std::vector<float> want =
            sums_of(*table.wide, wide, x, std::min(rows, most), vectors, 0);
        const std::size_t common = std::min(got.size(), want.size());
        ASSERT_TRUE(same_floats(got.data(), want.data(), static_cast<std::int64_t>(common)))
            << tile_name(tiles, rows, vectors, lines) << ", depth " << depth << ", "
            << table.tiles.to_string();
      });
      if (HasFatalFailure()) return;
    }
  }
}

// A single 1 in a row of A meets one row of B, so each sum is one number.
void expect_every_half(const FloatTable& table, std::int64_t k) {
  const cpu::DotKernels& kernels = *table.kernels;
  constexpr std::int64_t kDepth = 6;
  const Block<float> a(kDepth);
  for (std::int64_t i = 0; i < kDepth; ++i) a[i] = i == k ? 1.0F : 0.0F;
  for (std::int64_t first = 0; first < 0x10000; first += kCols) {
    const Panel b(kernels.form, kDepth);
    const auto half_of = [&](std::int64_t j) {
      return static_cast<std::uint16_t>(first + (j + 5 * k) % kCols);
    };
    for (std::int64_t j = 0; j < kCols; ++j) {
      const std::uint16_t half = half_of(j);
      std::memcpy(b.at(k, j), &half, sizeof(half));
    }
    for (std::int64_t vectors = 1; vectors <= kPanelVectors; ++vectors) {
      const std::int64_t rows = max_rows(kernels, vectors);
      const std::int64_t v = kPanelVectors - vectors;
      const Block<float> c((rows - 1) * kCols + vectors * kVectorCols);
      kernels.tile(rows, vectors, 0)({.depth = a.size() * std::int64_t{sizeof(float)},
                                      .a = a.data(),
                                      .lda = 0,
                                      .b = b.vector(v),
                                      .ldb = b.ldb(),
                                      .c = c.data(),
                                      .add = false,
                                      .ahead = nullptr});
      for (std::int64_t i = 0; i < c.size(); ++i) {
        if (i % kCols >= vectors * kVectorCols) continue;
        const std::uint16_t half = half_of(v * kVectorCols + i % kCols);
        const float want =
            table.b == DType::bfloat16 ? decode<kBFloat16>(half) : decode<kFloat16>(half);
        ASSERT_TRUE(std::isnan(want) ? std::isnan(c[i]) : c[i] == want)
            << table.to_string() << " " << half << ", k " << k << ", column " << i % kCols << ": "
            << c[i] << " against " << want;
      }
    }
  }
}

TEST(WideningTiles, WidenEveryHalfInEveryPlace) {
  for (const auto* kernels : kernels_at(&cpu::DotMachine::beside_floats)) {
    for (std::int64_t k = 0; k < 6 && !HasFatalFailure(); ++k) {
      expect_every_half({&kernels->bfloat16.dot, DType::float32, DType::bfloat16}, k);
      expect_every_half({&kernels->float16.dot, DType::float32, DType::float16}, k);
    }
  }
}

}  // namespace
}  // namespace octavo::test::widened_test
