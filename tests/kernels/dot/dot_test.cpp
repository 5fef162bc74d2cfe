// SPDX-License-Identifier: Apache-2.0
// Every int8 dot-product kernel, alone: the exact sums of a scalar loop, nothing read or written
// outside.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "backends/cpu/kernels/tile_contract.hpp"
#include "kernels/rows/block.hpp"
#include "dot_operands.hpp"
#include "kit/operands/random.hpp"

namespace octavo::test::dot_test {
namespace {

using cpu::DotKernel;
using cpu::DotKernels;
using cpu::IntegerKernels;
using cpu::kPanelVectors;
using cpu::kVectorCols;

// A whole panel of B, in kernels' order, right before a guard page.
class Codes : public Panel {
 public:
  Codes(const IntegerKernels& kernels, std::int64_t depth)
      : Panel(kernels.dot.form, depth), codes_(static_cast<std::size_t>(depth * kCols)) {
    const kit::Random random(static_cast<std::uint64_t>(depth) + 77);
    for (std::int64_t i = 0; i < depth * kCols; ++i) {
      codes_[static_cast<std::size_t>(i)] = static_cast<std::int8_t>(byte_of(random, i));
      put_code(i / kCols, i % kCols, codes_[static_cast<std::size_t>(i)]);
    }
  }
  std::int8_t at(std::int64_t k, std::int64_t j) const {
    return codes_[static_cast<std::size_t>(k * kCols + j)];
  }

 private:
  std::vector<std::int8_t> codes_;
};

using Sums = std::vector<std::uint32_t>;  // modulo 2^32

// What kernels make of an element of A, byte or word.
int element_of(const IntegerKernels& kernels, const Rows& a, std::int64_t r, std::int64_t k,
               std::uint8_t flip) {
  if (kernels.rows == cpu::ARows::words) {
    std::int16_t word;
    std::memcpy(&word, a.row(r) + 2 * k, sizeof(word));
    return word;
  }
  const auto u = static_cast<std::uint8_t>(a.at(r, k) ^ flip);
  return kernels.rows == cpu::ARows::unsigned_bytes ? u : static_cast<std::int8_t>(u);
}

// The operands of one table of kernels.
struct Operands {
  const IntegerKernels& kernels;
  std::int64_t depth;
  Rows a;
  Codes b;

  Operands(const IntegerKernels& k, Lie lie, std::int64_t d)
      : kernels(k), depth(d), a(lie, d * row_element(k)), b(k, d) {}

  // [rows][64]: the definition in tile_contract.hpp, before anything is taken away.
  Sums sums(std::uint8_t flip) const {
    Sums all(static_cast<std::size_t>(Rows::kMost * kCols));
    for (std::int64_t r = 0; r < Rows::kMost; ++r) {
      std::uint32_t* row = all.data() + r * kCols;
      for (std::int64_t k = 0; k < depth; ++k) {
        const int u = element_of(kernels, a, r, k, flip);
        for (std::int64_t j = 0; j < kCols; ++j) {
          row[j] += static_cast<std::uint32_t>(u * b.at(k, j));
        }
      }
    }
    return all;
  }
};

// One call of one kernel, and what it was asked for.
struct Call {
  const DotKernels& kernels;
  std::int64_t rows, vectors;
  int lines;
  std::int64_t first_vector;  // of the panel
  std::uint8_t flip;
  bool add, take_away, one_shift;

  std::string to_string() const {
    return std::string(kernels.how) + ": " + std::to_string(rows) + " rows, " +
           std::to_string(vectors) + " vectors from " + std::to_string(first_vector) + ", " +
           std::to_string(lines) + " lines, flip " + std::to_string(flip) + (add ? ", add" : "") +
           (take_away ? one_shift ? ", one shift" : ", shifts" : "");
  }
};

void expect_exact(const Call& call, const Operands& x, const Sums& sums, const Ahead& ahead) {
  const Rows& a = x.a;
  const std::int64_t columns = call.vectors * kVectorCols;
  Block<std::int32_t> c((call.rows - 1) * kCols + columns);
  c.fill_random(3);
  Block<std::int32_t> column_sums(columns);
  column_sums.fill_random(4);
  Block<std::int32_t> shift(call.one_shift ? 1 : call.rows);
  shift.fill_random(5);
  std::vector<std::int32_t> want(c.data(), c.data() + c.size());
  for (std::int64_t r = 0; r < call.rows; ++r) {
    for (std::int64_t j = 0; j < columns; ++j) {
      std::int32_t& element = want[static_cast<std::size_t>(r * kCols + j)];
      auto sum = sums[static_cast<std::size_t>(r * kCols + call.first_vector * kVectorCols + j)];
      if (call.add) sum += static_cast<std::uint32_t>(element);
      if (call.take_away) {
        sum -= static_cast<std::uint32_t>(shift[call.one_shift ? 0 : r]) *
               static_cast<std::uint32_t>(column_sums[j]);
      }
      element = static_cast<std::int32_t>(sum);
    }
  }
  call.kernels.tile(call.rows, call.vectors,
                    call.lines)({.depth = x.depth * row_element(x.kernels),
                                 .a = a.first(),
                                 .lda = a.lda(),
                                 .b = x.b.vector(call.first_vector),
                                 .ldb = x.b.ldb(),
                                 .c = c.data(),
                                 .add = call.add,
                                 .ahead = ahead.at,
                                 .first_level = ahead.first_level,
                                 .column_sums = call.take_away ? column_sums.data() : nullptr,
                                 .shift = call.take_away ? shift.data() : nullptr,
                                 .shift_stride = call.one_shift ? 0 : 1,
                                 .flip = call.flip});
  EXPECT_TRUE(std::equal(want.begin(), want.end(), c.data()))
      << call.to_string() << ", depth " << x.depth << ", lda " << a.lda();
}

TEST(DotKernelTable, HasWhatItsHeaderPromises) {
  for (const DotKernels* kernels : all_tables()) {
    std::set<DotKernel> all;
    std::size_t count = 0;
    for (std::int64_t vectors = 1; vectors <= kPanelVectors; ++vectors) {
      const std::int64_t most = max_rows(*kernels, vectors);
      EXPECT_EQ(most >= 1, vectors % kernels->form.grain == 0);
      EXPECT_LE(most, Rows::kMost);
      for (const int lines : cpu::kAheadLines) {
        EXPECT_EQ(kernels->tile(0, vectors, lines), nullptr);
        EXPECT_EQ(kernels->tile(-1, vectors, lines), nullptr);
        EXPECT_EQ(kernels->tile(most + 1, vectors, lines), nullptr);
        for (std::int64_t rows = 1; rows <= most; ++rows) {
          const DotKernel kernel = kernels->tile(rows, vectors, lines);
          EXPECT_EQ(kernel != nullptr, is_built(*kernels, rows, vectors, lines))
              << kernels->how << ", " << rows << " rows, " << vectors << " vectors, " << lines;
          if (kernel == nullptr) continue;
          if (vectors == 2 && lines == 1 &&
              kernels->register_rows == 1) {  // it fetches half a step
            const auto half = static_cast<int>(2 * kernels->form.vector_bytes / 64);
            EXPECT_EQ(kernel, kernels->tile(rows, vectors, half)) << kernels->how;
            if (half > lines) continue;
          }
          all.insert(kernel);
          ++count;
        }
      }
    }
    EXPECT_EQ(all.size(), count) << "two places of the table hold the same kernel";
  }
}

TEST(DotKernels, GiveTheSumsOfAScalarLoop) {
  Aheads aheads;
  std::int64_t turn = 0;
  for (const std::int64_t depth : {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 31, 66, 255}) {
    for (const IntegerKernels* kernels : integer_kernels()) {
      const Operands x(*kernels, Lie::ends_at_guards, depth);
      for (const std::uint8_t flip : {std::uint8_t{0}, std::uint8_t{0x80}}) {
        const Sums sums = x.sums(flip);
        for_each_tile(kernels->dot, [&](std::int64_t rows, std::int64_t vectors, int lines) {
          for (const bool add : {false, true}) {
            for (const auto& [take_away, one] :
                 {std::pair(false, false), std::pair(true, false), std::pair(true, true)}) {
              const std::int64_t place = turn++ % (kPanelVectors - vectors + 1);
              expect_exact({kernels->dot, rows, vectors, lines, place, flip, add, take_away, one},
                           x, sums, aheads.next());
            }
          }
        });
      }
    }
  }
}

TEST(DotKernels, ReadRowsWhereverTheyLie) {
  for (const std::int64_t depth : {1, 6, 67}) {
    for (const Lie lie : {Lie::begins_at_guards, Lie::backwards, Lie::odd, Lie::tight, Lie::same}) {
      for (const IntegerKernels* kernels : integer_kernels()) {
        const Operands x(*kernels, lie, depth);
        const Sums sums = x.sums(0x80);
        for_each_tile(kernels->dot, [&](std::int64_t rows, std::int64_t vectors, int lines) {
          expect_exact({kernels->dot, rows, vectors, lines, 0, 0x80, false, true, true}, x, sums,
                       {x.b.vector(0)});
        });
      }
    }
  }
}

// A panel that is no wider than the tile, before a guard page.
TEST(DotKernels, TakeNarrowPanels) {
  constexpr std::int64_t kDepth = 23;
  for (const IntegerKernels* table : integer_kernels()) {
    const DotKernels* const kernels = &table->dot;
    const Operands x(*table, Lie::tight, kDepth);
    const Sums sums = x.sums(0);
    const std::int64_t steps = (kDepth + kernels->form.step - 1) / kernels->form.step;
    for (std::int64_t vectors = 1; vectors < kPanelVectors; ++vectors) {
      const std::int64_t row_bytes = vectors * kernels->form.vector_bytes;
      const Block<std::int8_t> b(steps * row_bytes);
      for (std::int64_t step = 0; step < steps; ++step) {
        std::memcpy(b.data() + step * row_bytes, x.b.vector(0) + step * x.b.ldb(),
                    static_cast<std::size_t>(row_bytes));
      }
      const std::int64_t rows = max_rows(*kernels, vectors);
      const Block<std::int32_t> c((rows - 1) * kCols + vectors * kVectorCols);
      kernels->tile(rows, vectors, 0)({.depth = kDepth * row_element(*table),
                                       .a = x.a.first(),
                                       .lda = x.a.lda(),
                                       .b = b.data(),
                                       .ldb = row_bytes,
                                       .c = c.data(),
                                       .add = false,
                                       .ahead = nullptr,
                                       .column_sums = nullptr,
                                       .shift = nullptr,
                                       .shift_stride = 0,
                                       .flip = 0});
      for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t j = 0; j < vectors * kVectorCols; ++j) {
          ASSERT_EQ(static_cast<std::uint32_t>(c[r * kCols + j]),
                    sums[static_cast<std::size_t>(r * kCols + j)])
              << kernels->how << ", " << vectors << " vectors, row " << r << ", column " << j;
        }
      }
    }
  }
}

// The longest sum that stays in int32, of the extreme codes, over odd depths nearby too.
TEST(DotKernels, ExtremeCodesAddUpExactly) {
  constexpr std::int64_t kLongest = 65536;
  for (const IntegerKernels* table : integer_kernels()) {
    const DotKernels* const kernels = &table->dot;
    const bool words = table->rows == cpu::ARows::words;
    const bool unsigned_a = table->rows == cpu::ARows::unsigned_bytes;
    for (const int code : {-128, 127}) {
      for (const std::int64_t depth : {kLongest, kLongest - 3}) {
        // What pads the last step is zero.
        const Panel b(kernels->form, depth);
        for (std::int64_t k = 0; k < depth; ++k) {
          for (std::int64_t j = 0; j < kCols; ++j) b.put_code(k, j, static_cast<std::int8_t>(code));
        }
        const std::vector<std::int32_t> sums(64, static_cast<std::int32_t>(depth * code));
        for (const int byte : {0, 127, 128, 255}) {
          for (const std::uint8_t flip : {std::uint8_t{0}, std::uint8_t{0x80}}) {
            // A of words may be either kind of bytes.
            const bool is_signed = words ? flip != 0 : unsigned_a == (flip != 0);
            const int value = is_signed ? static_cast<std::int8_t>(byte) : byte;
            const Block<char> row(depth * row_element(*table));
            for (std::int64_t k = 0; k < depth; ++k) {
              const auto word = static_cast<std::int16_t>(words ? value : byte);
              std::memcpy(row.data() + k * row_element(*table), &word,
                          static_cast<std::size_t>(row_element(*table)));
            }
            const std::int64_t want = depth * value * code;
            const std::int32_t shift = words ? 0 : unsigned_a ? flip : -flip;
            for (std::int64_t vectors = 1; vectors <= kPanelVectors; ++vectors) {
              for (const std::int64_t rows : {std::int64_t{1}, max_rows(*kernels, vectors)}) {
                const Block<std::int32_t> c((rows - 1) * kCols + vectors * kVectorCols);
                kernels->tile(rows, vectors, 0)({.depth = depth * row_element(*table),
                                                 .a = row.data(),
                                                 .lda = 0,
                                                 .b = b.vector(0),
                                                 .ldb = b.ldb(),
                                                 .c = c.data(),
                                                 .add = false,
                                                 .ahead = nullptr,
                                                 .column_sums = sums.data(),
                                                 .shift = &shift,
                                                 .shift_stride = 0,
                                                 .flip = flip});
                for (const std::int64_t i : {std::int64_t{0}, c.size() - 1}) {
                  ASSERT_EQ(c[i], want) << kernels->how << ", " << value << " times " << code;
                }
              }
            }
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace octavo::test::dot_test
