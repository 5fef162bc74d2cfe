// SPDX-License-Identifier: Apache-2.0
// Scales that change along K inside a tile: total += (sum * sa) * sb for each group, each step
// rounded, bit for bit, from integer and floating tiles of every size.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "dot_operands.hpp"

namespace octavo::test::dot_total_test {
namespace {

using cpu::DotKernels;
using cpu::DotTile;
using cpu::kPanelVectors;
using cpu::kRowSums;
using cpu::kStepBytes;
using cpu::kVectorCols;

// Groups of `group` bytes, the last one of what is left.
struct Depths {
  std::int64_t depth, group;
  std::int64_t groups() const { return (depth + group - 1) / group; }
};
constexpr Depths kDepths[] = {{4, 4},    {3, 4},     {8, 4},     {11, 4},  {16, 8},
                              {30, 12},  {40, 40},   {39, 40},   {41, 40}, {160, 40},
                              {130, 32}, {256, 128}, {300, 128}, {20, 4}};

// Scales, column sums and shifts of a call, between guard pages.
struct Scales {
  std::int64_t rows, columns, groups;
  std::int64_t row_stride, group_stride;
  bool one_shift;
  Block<float> a, b;
  Block<std::int32_t> column_sums, shift;

  Scales(std::int64_t rows_, std::int64_t columns_, std::int64_t groups_, std::int64_t row_stride_,
         bool one_shift_)
      : rows(rows_),
        columns(columns_),
        groups(groups_),
        row_stride(row_stride_),
        group_stride(row_stride_ * rows_ + 1),
        one_shift(one_shift_),
        a((groups - 1) * group_stride + (rows - 1) * row_stride + 1),
        b((groups - 1) * kRowSums + columns),
        column_sums((groups - 1) * kRowSums + columns),
        shift(one_shift ? 1 : rows) {
    const kit::Random random(11);
    for (std::int64_t i = 0; i < a.size(); ++i) a[i] = scale(random, i);
    for (std::int64_t i = 0; i < b.size(); ++i) b[i] = scale(random, i + 1000000);
    column_sums.fill_random(12);
    shift.fill_random(13);
  }
  float sa(std::int64_t r, std::int64_t g) const { return a[g * group_stride + r * row_stride]; }
  float sb(std::int64_t j, std::int64_t g) const { return b[g * kRowSums + j]; }
  std::uint32_t taken(std::int64_t r, std::int64_t j, std::int64_t g) const {
    return static_cast<std::uint32_t>(shift[one_shift ? 0 : r]) *
           static_cast<std::uint32_t>(column_sums[g * kRowSums + j]);
  }

 private:
  static float scale(const kit::Random& random, std::int64_t i) {
    return static_cast<float>(gaussian(random, i));
  }
};

// The sum of a group as the same kernels give it: each row alone, as a call of its own.
struct GroupSums {
  const DotKernels& kernels;
  std::int64_t step_bytes;  // of a row of A
  DotTile unpacked;         // row 0, the tile's first vector; without total

  // Of row r and the grain of vectors from v on; `c` holds what is added to.
  void operator()(std::int64_t r, std::int64_t v, const Depths& d, std::int64_t g, void* c) const {
    DotTile tile = unpacked;
    tile.a = static_cast<const char*>(unpacked.a) + r * unpacked.lda + g * d.group;
    tile.depth = std::min(d.group, d.depth - g * d.group);
    tile.b = static_cast<const char*>(unpacked.b) + g * d.group / step_bytes * unpacked.ldb +
             v * kernels.form.vector_bytes;
    tile.c = c;
    tile.add = unpacked.add && g == 0;
    kernels.tile(1, kernels.form.grain, 0)(tile);
  }
};

// Nothing but where the operands lie; B from a vector of its panel on.
DotTile tile_of(const Rows& a, const Panel& b, std::int64_t vector) {
  return {.depth = 0,
          .a = a.first(),
          .lda = a.lda(),
          .b = b.vector(vector),
          .ldb = b.ldb(),
          .c = nullptr,
          .add = false,
          .ahead = nullptr};
}

struct Call {
  const DotKernels& kernels;
  std::int64_t rows, vectors;
  int lines;
  bool add;
  bool take_away;                        // of integers
  std::int64_t step_bytes = kStepBytes;  // of a row of A
};

template <class Sum>
float scaled(Sum sum, float sa, float sb) {
  const float once = static_cast<float>(sum) * sa;
  return once * sb;
}

// `Sum` is what c holds: std::int32_t or float.
template <class Sum>
void expect_totals(const Call& call, const DotTile& operands, const Depths& d,
                   const Scales& scales) {
  const std::int64_t columns = call.vectors * kVectorCols;
  const Block<Sum> c((call.rows - 1) * kCols + columns);
  const Block<float> total(c.size());
  const kit::Random random(14);
  for (std::int64_t i = 0; i < c.size(); ++i) {
    c[i] = static_cast<Sum>(1000.0 * gaussian(random, i));
    total[i] = static_cast<float>(gaussian(random, i + 5000));
  }
  const std::vector<Sum> sums(c.data(), c.data() + c.size());
  std::vector<float> want(total.data(), total.data() + total.size());
  DotTile unpacked = operands;
  unpacked.add = call.add;
  const GroupSums group_sums{call.kernels, call.step_bytes, unpacked};
  const std::int64_t grain = call.kernels.form.grain;
  const Block<Sum> part(grain * kVectorCols);
  for (std::int64_t r = 0; r < call.rows; ++r) {
    for (std::int64_t v = 0; v < call.vectors; v += grain) {
      for (std::int64_t g = 0; g < d.groups(); ++g) {
        const std::int64_t place = r * kCols + v * kVectorCols;
        std::copy_n(sums.data() + place, part.size(), part.data());
        group_sums(r, v, d, g, part.data());
        for (std::int64_t j = 0; j < part.size(); ++j) {
          const std::int64_t column = v * kVectorCols + j;
          if constexpr (std::is_integral_v<Sum>) {
            if (call.take_away) {
              part[j] = static_cast<Sum>(static_cast<std::uint32_t>(part[j]) -
                                         scales.taken(r, column, g));
            }
          }
          want[static_cast<std::size_t>(place + j)] +=
              scaled(part[j], scales.sa(r, g), scales.sb(column, g));
        }
      }
    }
  }
  DotTile tile = unpacked;
  tile.depth = d.depth;
  tile.c = c.data();
  tile.ahead = static_cast<const char*>(operands.b);
  tile.first_level = call.add;
  tile.total = total.data();
  tile.group = d.group;
  tile.scale_a = scales.a.data();
  tile.scale_a_stride = scales.row_stride;
  tile.scale_a_group_stride = scales.group_stride;
  tile.scale_b = scales.b.data();
  tile.column_sums = call.take_away ? scales.column_sums.data() : nullptr;
  tile.shift = scales.shift.data();
  tile.shift_stride = scales.one_shift ? 0 : 1;
  call.kernels.tile(call.rows, call.vectors, call.lines)(tile);
  ASSERT_TRUE(same_floats(total.data(), want.data(), total.size()))
      << tile_name(call.kernels, call.rows, call.vectors, call.lines) << (call.add ? ", add" : "")
      << (call.take_away ? ", shifts" : "") << ", " << d.depth << " bytes in groups of " << d.group
      << ", row stride " << scales.row_stride;
  ASSERT_EQ(std::memcmp(sums.data(), c.data(), sums.size() * sizeof(Sum)), 0) << "c is written";
}

TEST(DotTotals, OfIntegersAreBitForBitThoseOfTheirGroups) {
  for (const cpu::IntegerKernels* integers : integer_kernels()) {
    const DotKernels* const kernels = &integers->dot;
    const std::int64_t size = row_element(*integers);
    for (const Depths& fours : kDepths) {
      const std::int64_t longer =
          std::max(kernels->form.step / cpu::kInt8Form.step, std::int64_t{1});
      const Depths elements{fours.depth * longer, fours.group * longer};
      const Depths d{elements.depth * size, elements.group * size};
      const Rows a(Lie::ends_at_guards, d.depth);
      const Panel b(kernels->form, elements.depth);
      std::int64_t turn = 0;
      const kit::Random random(3);
      for (std::int64_t i = 0; i < elements.depth * kCols; ++i) {
        b.put_code(i / kCols, i % kCols, static_cast<std::int8_t>(byte_of(random, i)));
      }
      for_each_tile(*kernels, [&](std::int64_t rows, std::int64_t vectors, int lines) {
        const std::int64_t v = ++turn % (kPanelVectors - vectors + 1);
        DotTile operands = tile_of(a, b, v);
        operands.flip = static_cast<std::uint8_t>(turn % 2 * 0x80);
        const Scales scales(rows, vectors * kVectorCols, d.groups(), turn % 3, turn % 4 < 2);
        for (const bool take_away : {false, true}) {
          expect_totals<std::int32_t>(
              {*kernels, rows, vectors, lines, turn % 5 < 2, take_away, kernels->form.step * size},
              operands, d, scales);
        }
      });
      if (HasFatalFailure()) return;
    }
  }
}

TEST(DotTotals, OfFloatsAreBitForBitThoseOfTheirGroups) {
  for (const FloatTable& table : float_tables()) {
    const DotKernels& kernels = *table.kernels;
    for (const Depths& bytes : kDepths) {
      const std::int64_t size = element_bytes(table.a);
      const std::int64_t fours = std::max(kernels.form.step * size / kStepBytes, std::int64_t{1});
      const Depths d{bytes.depth * fours, bytes.group * fours};
      if (d.depth % size != 0) continue;
      const FloatOperands x(table, Lie::ends_at_guards, d.depth / size);
      std::int64_t turn = 0;
      for_each_tile(kernels, [&](std::int64_t rows, std::int64_t vectors, int lines) {
        const std::int64_t room = (kPanelVectors - vectors) / kernels.form.grain;
        const std::int64_t v = ++turn % (room + 1) * kernels.form.grain;
        DotTile operands = tile_of(x.a(), x.b(), v);
        operands.table = &cpu::float8_table(table.b);
        const Scales scales(rows, vectors * kVectorCols, d.groups(), turn % 3, true);
        for (const bool add : {false, true}) {
          expect_totals<float>(
              {kernels, rows, vectors, lines, add, false, kernels.form.step * size}, operands, d,
              scales);
        }
      });
      if (HasFatalFailure()) return;
    }
  }
}

}  // namespace
}  // namespace octavo::test::dot_total_test
