// SPDX-License-Identifier: Apache-2.0
// Every floating dot-product tile, alone: sums within the bound of their length, the same bits from
// a tile of any size, nothing read or written outside.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/machines/amx_instructions.hpp"
#include "kernels/machines/arm_instructions.hpp"
#include "dot_operands.hpp"

namespace octavo::test::float_dot_test {
namespace {

using cpu::kPanelVectors;
using cpu::kVectorCols;

// What tiles add to: [rows][64], the same for all.
const std::vector<float>& first_sums() {
  static const std::vector<float> sums = [] {
    const kit::Random random(9);
    std::vector<float> c(static_cast<std::size_t>(Rows::kMost * kCols));
    for (std::size_t i = 0; i < c.size(); ++i) c[i] = static_cast<float>(random.gauss(i));
    return c;
  }();
  return sums;
}

struct Call {
  const FloatTable& table;
  const FloatOperands& x;
  std::int64_t rows, vectors;
  int lines;
  bool add;
};

// Rows from `row` and vectors from `vector` on, into c, which is written nowhere else.
void run(const Call& call, std::int64_t row, std::int64_t vector, const Block<float>& c,
         const Ahead& ahead = {}) {
  call.table.kernels->tile(call.rows, call.vectors,
                           call.lines)({.depth = call.x.depth_bytes(),
                                        .a = call.x.a().row(row),
                                        .lda = call.x.a().lda(),
                                        .b = call.x.b().vector(vector),
                                        .ldb = call.x.b().ldb(),
                                        .c = c.data(),
                                        .add = call.add,
                                        .ahead = ahead.at,
                                        .first_level = ahead.first_level,
                                        .table = &cpu::float8_table(call.table.b)});
}

// Each row alone, in the narrowest tiles: [rows][64].
std::vector<float> row_by_row(const FloatTable& table, const FloatOperands& x, std::int64_t vectors,
                              bool add) {
  const std::int64_t grain = table.kernels->form.grain;
  const Block<float> c(grain * kVectorCols);
  std::vector<float> sums = first_sums();
  for (std::int64_t r = 0; r < Rows::kMost; ++r) {
    for (std::int64_t v = 0; v < vectors; v += grain) {
      float* place = sums.data() + r * kCols + v * kVectorCols;
      std::copy_n(place, c.size(), c.data());
      run({table, x, 1, grain, 0, add}, r, v, c);
      std::copy_n(c.data(), c.size(), place);
    }
  }
  return sums;
}

// One accumulator rounds each of its additions once: gamma = n u / (1 - n u). Of pairs of bfloat16
// it may round half as many, and the pairs, twice as coarsely, to odd.
void expect_bound(const FloatTable& table, const FloatOperands& x, const std::vector<float>& sums,
                  bool add) {
  const std::vector<float>& before = first_sums();
  const std::int64_t additions = x.depth() + (table.a == DType::bfloat16 ? 3 : 1);
  const double n = static_cast<double>(additions) * 0x1p-24;
  for (std::int64_t r = 0; r < Rows::kMost; ++r) {
    for (std::int64_t j = 0; j < kCols; ++j) {
      const auto i = static_cast<std::size_t>(r * kCols + j);
      double exact = add ? before[i] : 0.0;
      double magnitude = std::abs(exact);
      for (std::int64_t k = 0; k < x.depth(); ++k) {
        exact += x.a_value(r, k) * x.b_value(k, j);
        magnitude += std::abs(x.a_value(r, k) * x.b_value(k, j));
      }
      ASSERT_LE(std::abs(sums[i] - exact), n / (1.0 - n) * magnitude)
          << table.to_string() << ", depth " << x.depth() << ", row " << r << ", column " << j;
    }
  }
}

// Fused multiply-add has one answer.
void expect_fused(const FloatOperands& x, const std::vector<float>& sums, bool add) {
  const std::vector<float>& before = first_sums();
  for (std::int64_t r = 0; r < Rows::kMost; ++r) {
    for (std::int64_t j = 0; j < kCols; ++j) {
      const auto i = static_cast<std::size_t>(r * kCols + j);
      float sum = add ? before[i] : 0.0F;
      for (std::int64_t k = 0; k < x.depth(); ++k) {
        sum =
            std::fma(static_cast<float>(x.a_value(r, k)), static_cast<float>(x.b_value(k, j)), sum);
      }
      ASSERT_EQ(sums[i], sum) << "depth " << x.depth() << ", row " << r << ", column " << j;
    }
  }
}

std::uint16_t half_at(const void* place) {
  std::uint16_t bits;
  std::memcpy(&bits, place, sizeof(bits));
  return bits;
}

// Pairs that are rounded to odd have one answer, too.
void expect_pairs(const FloatOperands& x, const std::vector<float>& sums, bool add) {
  const std::vector<float>& before = first_sums();
  for (std::int64_t r = 0; r < Rows::kMost; ++r) {
    for (std::int64_t j = 0; j < kCols; ++j) {
      const auto i = static_cast<std::size_t>(r * kCols + j);
      float sum = add ? before[i] : 0.0F;
      for (std::int64_t k = 0; k < x.depth(); k += 2) {
        const bool both = k + 1 < x.depth();
        const std::uint8_t* row = x.a().row(r) + 2 * k;
        const std::uint16_t a[] = {half_at(row), both ? half_at(row + 2) : std::uint16_t{0}};
        const std::uint16_t b[] = {half_at(x.b().at(k, j)),
                                   both ? half_at(x.b().at(k + 1, j)) : std::uint16_t{0}};
        sum = arm::add_pair(sum, a, b);
      }
      ASSERT_TRUE(same_floats(&sums[i], &(sum += 0.0F), 1))
          << "depth " << x.depth() << ", row " << r << ", column " << j << ": " << sums[i]
          << " against " << sum;
    }
  }
}

// Blocks, too: sum_of(before, r, j) from what the sum was.
template <class SumOf>
void expect_sums(const FloatOperands& x, const std::vector<float>& sums, bool add,
                 const SumOf& sum_of) {
  const std::vector<float>& before = first_sums();
  for (std::int64_t r = 0; r < Rows::kMost; ++r) {
    for (std::int64_t j = 0; j < kCols; ++j) {
      const auto i = static_cast<std::size_t>(r * kCols + j);
      const float sum = sum_of(add ? before[i] : 0.0F, r, j);
      ASSERT_TRUE(same_floats(&sums[i], &sum, 1))
          << "depth " << x.depth() << ", row " << r << ", column " << j << ": " << sums[i]
          << " against " << sum;
    }
  }
}
void expect_blocks(const FloatOperands& x, const std::vector<float>& sums, bool add) {
  const auto half = [](const void* place) { return amx::Tiles::half(half_at(place)); };
  expect_sums(x, sums, add, [&](float before, std::int64_t r, std::int64_t j) {
    return amx::add_blocks(
        before, x.depth(), [&](std::int64_t k) { return half(x.a().row(r) + 2 * k); },
        [&](std::int64_t k) { return half(x.b().at(k, j)); });
  });
}
void expect_code_blocks(const FloatOperands& x, const std::vector<float>& sums, bool add) {
  expect_sums(x, sums, add, [&](float before, std::int64_t r, std::int64_t j) {
    return amx::add_code_blocks(
        before, x.depth(), [&](std::int64_t k) { return x.a_value(r, k); },
        [&](std::int64_t k) { return x.b_value(k, j); });
  });
}

void expect_same(const Call& call, std::int64_t vector, const std::vector<float>& want,
                 const Ahead& ahead) {
  const std::int64_t columns = call.vectors * kVectorCols;
  const Block<float> c((call.rows - 1) * kCols + columns);
  // What lies between the rows of a narrow tile stays as it is.
  const std::vector<float>& before = first_sums();
  std::copy_n(before.data(), c.size(), c.data());
  for (std::int64_t r = 0; r < call.rows; ++r) {
    std::copy_n(before.data() + r * kCols + vector * kVectorCols, columns, c.data() + r * kCols);
  }
  run(call, 0, vector, c, ahead);
  for (std::int64_t r = 0; r < call.rows; ++r) {
    ASSERT_TRUE(
        same_floats(c.data() + r * kCols, want.data() + r * kCols + vector * kVectorCols, columns))
        << tile_name(*call.table.kernels, call.rows, call.vectors, call.lines) << " from " << vector
        << (call.add ? ", add" : "") << ", depth " << call.x.depth() << ", row " << r << ", "
        << name(call.table.b);
    if (r + 1 == call.rows) break;
    ASSERT_TRUE(same_floats(c.data() + r * kCols + columns, before.data() + r * kCols + columns,
                            kCols - columns));
  }
}

TEST(FloatDotKernels, StayWithinTheBoundWithTheSameBitsFromEveryTile) {
  Aheads aheads;
  for (const FloatTable& table : float_tables()) {
    const std::int64_t grain = table.kernels->form.grain;
    for (const std::int64_t depth : {0, 1, 2, 3, 4, 5, 17, 66, 255}) {
      const FloatOperands x(table, Lie::ends_at_guards, depth);
      for (const bool add : {false, true}) {
        const std::vector<float> want = row_by_row(table, x, kPanelVectors, add);
        expect_bound(table, x, want, add);
        if (table.a == DType::float32 && !is_float8(table.b)) expect_fused(x, want, add);
        if (table.a == DType::float8_e4m3fn) expect_code_blocks(x, want, add);
        for_each_tile(*table.kernels, [&](std::int64_t rows, std::int64_t vectors, int lines) {
          for (std::int64_t v = 0; v + vectors <= kPanelVectors; v += grain) {
            expect_same({table, x, rows, vectors, lines, add}, v, want, aheads.next());
          }
        });
        if (HasFatalFailure()) return;
      }
    }
  }
}

// bfloat16 with subnormal elements, products and sums, sums that cancel, and tiny ones of either
// sign: the bits that `expect` has.
template <class Expect>
void expect_bits(const cpu::DotKernels& kernels, const Expect& expect) {
  const FloatTable table{&kernels, DType::bfloat16, DType::bfloat16};
  for (const std::int64_t depth : {1, 2, 3, 4, 6, 17, 32, 66, 301}) {
    const FloatOperands x(table, Lie::ends_at_guards, depth);
    const kit::Random random(11);
    const auto put = [&](std::int64_t i, void* place) {
      const std::uint64_t bits = random.bits(static_cast<std::uint64_t>(i));
      const std::uint64_t exponent = (depth % 3 == 0 ? 60U : 120U) + (bits >> 32) % 8;
      const bool tiny = (bits >> 40) % 16 == 0;
      const auto half = static_cast<std::uint16_t>((bits & 0x807FU) | (tiny ? 0 : exponent << 7));
      std::memcpy(place, &half, sizeof(half));
    };
    for (std::int64_t k = 0; k < depth; ++k) {
      for (std::int64_t r = 0; r < Rows::kMost; ++r) put(r * depth + k, x.a().row(r) + 2 * k);
      for (std::int64_t j = 0; j < kCols; ++j) put((j + 50) * depth + k, x.b().at(k, j));
    }
    for (const bool add : {false, true}) {
      const std::vector<float> want = row_by_row(table, x, kPanelVectors, add);
      expect(x, want, add);
      for_each_tile(kernels, [&](std::int64_t rows, std::int64_t vectors, int lines) {
        expect_same({table, x, rows, vectors, lines, add}, 0, want, {x.b().vector(0)});
      });
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

TEST(FloatDotKernels, AddPairsOfBfloat16AsArmDoes) {
  for (const cpu::DotMachine& machine : tested_machines()) {
    if (machine.few_pairs == nullptr) continue;
    expect_bits(*machine.pairs, expect_pairs);
    expect_bits(*machine.few_pairs, expect_pairs);
  }
}

// The instruction where this CPU has it, and the simulated one.
TEST(FloatDotKernels, AddBlocksOfBfloat16AsAmxDoes) {
  for (const cpu::DotKernels* kernels : pair_kernels()) {
    if (kernels->block > 1) expect_bits(*kernels, expect_blocks);
  }
}

TEST(FloatDotKernels, ReadRowsWhereverTheyLie) {
  for (const FloatTable& table : float_tables()) {
    for (const std::int64_t depth : {1, 6, 67}) {
      for (const Lie lie :
           {Lie::begins_at_guards, Lie::backwards, Lie::odd, Lie::tight, Lie::same}) {
        const FloatOperands x(table, lie, depth);
        const std::vector<float> want = row_by_row(table, x, kPanelVectors, false);
        expect_bound(table, x, want, false);
        for_each_tile(*table.kernels, [&](std::int64_t rows, std::int64_t vectors, int lines) {
          expect_same({table, x, rows, vectors, lines, false}, 0, want, {x.b().vector(0)});
        });
        if (HasFatalFailure()) return;
      }
    }
  }
}

// A panel that is no wider than the tile, before a guard page.
TEST(FloatDotKernels, TakeNarrowPanels) {
  for (const FloatTable& table : float_tables()) {
    for (std::int64_t vectors = 1; vectors < kPanelVectors; ++vectors) {
      for (const std::int64_t depth : {1, 2, 23}) {
        if (max_rows(*table.kernels, vectors) == 0) continue;
        const FloatOperands x(table, Lie::tight, depth, vectors);
        const std::vector<float> want = row_by_row(table, x, vectors, true);
        for (std::int64_t rows = 1; rows <= max_rows(*table.kernels, vectors); ++rows) {
          expect_same({table, x, rows, vectors, 0, true}, 0, want, {});
        }
        if (HasFatalFailure()) return;
      }
    }
  }
}

// Infinities and NaN of one row reach its sums only, those of one column its column only.
TEST(FloatDotKernels, KeepWhatIsNotFiniteInItsRowAndColumn) {
  for (const FloatTable& table : float_tables()) {
    if (element_bytes(table.b) == 1) continue;  // float8_test.cpp, code by code
    for_each_tile(*table.kernels, [&](std::int64_t rows, std::int64_t vectors, int lines) {
      const FloatOperands x(table, Lie::tight, 7);
      const std::int64_t row = rows - 1;
      const std::int64_t column = vectors * kVectorCols - 1;
      kit::store(table.a, x.a().row(row) + 6 * x.size(), 0, HUGE_VAL);
      kit::store(table.b, x.b().at(5, column), 0, std::nan(""));
      const Block<float> c((rows - 1) * kCols + vectors * kVectorCols);
      run({table, x, rows, vectors, lines, false}, 0, 0, c, {x.b().vector(0)});
      for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t j = 0; j <= column; ++j) {
          const float got = c[r * kCols + j];
          const bool right = j == column ? std::isnan(got)
                             : r == row  ? got == (x.b_value(6, j) > 0 ? HUGE_VALF : -HUGE_VALF)
                                         : std::isfinite(got);
          ASSERT_TRUE(right) << tile_name(*table.kernels, rows, vectors, lines) << ", row " << r
                             << ", column " << j << ": " << got;
        }
      }
    });
  }
}

}  // namespace
}  // namespace octavo::test::float_dot_test
