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

#include "backends/cpu/kernels/dot.hpp"
#include "block.hpp"
#include "dot_operands.hpp"
#include "kit/random.hpp"

namespace octavo::test {
namespace {

using cpu::DotKernel;
using cpu::DotKernels;
using cpu::IntegerKernels;
using cpu::kPanelVectors;
using cpu::kVectorCols;

constexpr std::int64_t kStep = cpu::kInt8Form.step;

// A whole panel of B, in kernels' order, right before a guard page.
class Codes : public Panel {
 public:
  explicit Codes(std::int64_t depth) : Panel(cpu::kInt8Form, depth) {
    const kit::Random random(static_cast<std::uint64_t>(depth) + 77);
    for (std::int64_t k = 0; k < depth; ++k) {
      for (std::int64_t j = 0; j < kCols; ++j) {
        *Panel::at(k, j) = static_cast<char>(byte_of(random, k * kCols + j));
      }
    }
  }
  std::int8_t at(std::int64_t k, std::int64_t j) const {
    return static_cast<std::int8_t>(*Panel::at(k, j));
  }
};

using Sums = std::vector<std::uint32_t>;  // modulo 2^32

// The byte that kernels make of one of A.
int flipped(std::uint8_t byte, std::uint8_t flip, bool is_unsigned) {
  const auto u = static_cast<std::uint8_t>(byte ^ flip);
  return is_unsigned ? u : static_cast<std::int8_t>(u);
}

// [rows][64]: the definition in dot.hpp, before anything is taken away.
Sums scalar_sums(const Rows& a, const Codes& b, std::int64_t depth, std::uint8_t flip,
                 bool is_unsigned) {
  Sums sums(static_cast<std::size_t>(Rows::kMost * kCols));
  for (std::int64_t r = 0; r < Rows::kMost; ++r) {
    for (std::int64_t k = 0; k < depth; ++k) {
      const int u = flipped(a.at(r, k), flip, is_unsigned);
      std::uint32_t* row = sums.data() + r * kCols;
      for (std::int64_t j = 0; j < kCols; ++j) row[j] += static_cast<std::uint32_t>(u * b.at(k, j));
    }
  }
  return sums;
}

// Of signed bytes, and of unsigned ones: by IntegerKernels::unsigned_a.
struct BothSums {
  std::array<Sums, 2> sums;
  BothSums(const Rows& a, const Codes& b, std::int64_t depth, std::uint8_t flip)
      : sums{scalar_sums(a, b, depth, flip, false), scalar_sums(a, b, depth, flip, true)} {}
  const Sums& of(const IntegerKernels& kernels) const { return sums[kernels.unsigned_a ? 1 : 0]; }
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

void expect_exact(const Call& call, std::int64_t depth, const Rows& a, const Codes& b,
                  const Sums& sums, const char* ahead) {
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
                    call.lines)({.depth = depth,
                                 .a = a.first(),
                                 .lda = a.lda(),
                                 .b = b.vector(call.first_vector),
                                 .ldb = kCols * kStep,
                                 .c = c.data(),
                                 .add = call.add,
                                 .ahead = ahead,
                                 .column_sums = call.take_away ? column_sums.data() : nullptr,
                                 .shift = call.take_away ? shift.data() : nullptr,
                                 .shift_stride = call.one_shift ? 0 : 1,
                                 .flip = call.flip});
  EXPECT_TRUE(std::equal(want.begin(), want.end(), c.data()))
      << call.to_string() << ", depth " << depth << ", lda " << a.lda();
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
          EXPECT_EQ(kernel != nullptr, is_built(*kernels, vectors, lines))
              << kernels->how << ", " << rows << " rows, " << vectors << " vectors, " << lines;
          if (kernel == nullptr) continue;
          all.insert(kernel);
          ++count;
        }
      }
    }
    EXPECT_EQ(all.size(), count) << "two places of the table hold the same kernel";
  }
}

TEST(DotKernels, GiveTheSumsOfAScalarLoop) {
  const Block<char> valid(64);
  const char* const kAhead[] = {valid.data(), valid.data() + 64,
                                reinterpret_cast<const char*>(std::uintptr_t{4096})};
  std::size_t turn = 0;
  for (const std::int64_t depth : {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 31, 66, 255}) {
    const Rows a(Lie::ends_at_guards, depth);
    const Codes b(depth);
    for (const std::uint8_t flip : {std::uint8_t{0}, std::uint8_t{0x80}}) {
      const BothSums sums(a, b, depth, flip);
      for (const IntegerKernels* kernels : integer_kernels()) {
        for_each_tile(kernels->dot, [&](std::int64_t rows, std::int64_t vectors, int lines) {
          for (const bool add : {false, true}) {
            for (const auto& [take_away, one] :
                 {std::pair(false, false), std::pair(true, false), std::pair(true, true)}) {
              const auto place = static_cast<std::int64_t>(turn) % (kPanelVectors - vectors + 1);
              expect_exact({kernels->dot, rows, vectors, lines, place, flip, add, take_away, one},
                           depth, a, b, sums.of(*kernels), kAhead[++turn % std::size(kAhead)]);
            }
          }
        });
      }
    }
  }
}

TEST(DotKernels, ReadRowsWhereverTheyLie) {
  for (const std::int64_t depth : {1, 6, 67}) {
    const Codes b(depth);
    for (const Lie lie : {Lie::begins_at_guards, Lie::backwards, Lie::odd, Lie::tight, Lie::same}) {
      const Rows a(lie, depth);
      const BothSums sums(a, b, depth, 0x80);
      for (const IntegerKernels* kernels : integer_kernels()) {
        for_each_tile(kernels->dot, [&](std::int64_t rows, std::int64_t vectors, int lines) {
          expect_exact({kernels->dot, rows, vectors, lines, 0, 0x80, false, true, true}, depth, a,
                       b, sums.of(*kernels), b.vector(0));
        });
      }
    }
  }
}

// A panel that is no wider than the tile, before a guard page.
TEST(DotKernels, TakeNarrowPanels) {
  constexpr std::int64_t kDepth = 23;
  constexpr std::int64_t kSteps = (kDepth + kStep - 1) / kStep;
  const Rows a(Lie::tight, kDepth);
  const Codes whole(kDepth);
  const BothSums both(a, whole, kDepth, 0);
  for (std::int64_t vectors = 1; vectors < kPanelVectors; ++vectors) {
    const std::int64_t row_bytes = vectors * kVectorCols * kStep;
    const Block<std::int8_t> b(kSteps * row_bytes);
    for (std::int64_t step = 0; step < kSteps; ++step) {
      std::memcpy(b.data() + step * row_bytes, whole.vector(0) + step * kCols * kStep,
                  static_cast<std::size_t>(row_bytes));
    }
    for (const IntegerKernels* table : integer_kernels()) {
      const DotKernels* const kernels = &table->dot;
      const Sums& sums = both.of(*table);
      const std::int64_t rows = max_rows(*kernels, vectors);
      const Block<std::int32_t> c((rows - 1) * kCols + vectors * kVectorCols);
      kernels->tile(rows, vectors, 0)({.depth = kDepth,
                                       .a = a.first(),
                                       .lda = a.lda(),
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
  const Block<std::uint8_t> row(kLongest);
  const Block<std::int8_t> b(kLongest * kCols);
  for (const int code : {-128, 127}) {
    std::fill_n(b.data(), b.size(), static_cast<std::int8_t>(code));
    for (const std::int64_t depth : {kLongest, kLongest - 3}) {
      // Nothing after `depth` counts: the panel's padding would be zero, here A's bytes are not
      // read; the last step's codes are zero where A ends.
      const std::int64_t tail = depth % kStep;
      for (std::int64_t j = 0; j < kCols && tail != 0; ++j) {
        std::int8_t* last = b.data() + depth / kStep * kCols * kStep + j * kStep;
        std::fill(last + tail, last + kStep, std::int8_t{0});
      }
      for (const int byte : {0, 127, 128, 255}) {
        std::fill_n(row.data(), kLongest, static_cast<std::uint8_t>(byte));
        const std::uint8_t* a = row.data() + kLongest - depth;
        for (const std::uint8_t flip : {std::uint8_t{0}, std::uint8_t{0x80}}) {
          for (const IntegerKernels* table : integer_kernels()) {
            const DotKernels* const kernels = &table->dot;
            const bool is_signed = table->unsigned_a == (flip != 0);
            const int value = is_signed ? static_cast<std::int8_t>(byte) : byte;
            const std::int64_t want = depth * value * code;
            const std::int32_t shift = table->unsigned_a ? flip : -flip;
            for (std::int64_t vectors = 1; vectors <= kPanelVectors; ++vectors) {
              for (const std::int64_t rows : {std::int64_t{1}, max_rows(*kernels, vectors)}) {
                const Block<std::int32_t> c((rows - 1) * kCols + vectors * kVectorCols);
                const std::vector<std::int32_t> sums(64, static_cast<std::int32_t>(depth * code));
                kernels->tile(rows, vectors, 0)({.depth = depth,
                                                 .a = a,
                                                 .lda = 0,
                                                 .b = b.data(),
                                                 .ldb = kCols * kStep,
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
}  // namespace octavo::test
