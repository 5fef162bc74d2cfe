// SPDX-License-Identifier: Apache-2.0
// Every kernel that reads a weight in place: bit for bit what tiles compute of the same weight
// in panels, whatever its type, order, extents, groups and shifts; nothing read or written outside.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "dot_operands.hpp"

namespace octavo::test::unpacked_test {
namespace {

using cpu::DotKernels;
using cpu::DotTile;
using cpu::kRowSums;
using cpu::UnpackedKernel;
using cpu::UnpackedOrder;

// What reads weights of a type in place, and the tiles of the same rows of A.
struct UnpackedTable {
  const DotKernels* unpacked;
  const DotKernels* tiles;
  DType a, weight;

  bool integers() const { return a == DType::int8 || a == DType::int16; }
  bool operator==(const UnpackedTable&) const = default;
};

// Of the tested machines, those that `has` says yes to.
template <class Has>
std::vector<UnpackedTable> tables_that(const Has& has) {
  std::vector<UnpackedTable> tables;
  for (const cpu::DotMachine& machine : tested_machines()) {
    for (const cpu::IntegerKernels* k : {machine.integers, machine.few_rows}) {
      if (k == nullptr) continue;
      const DType a = k->rows == cpu::ARows::words ? DType::int16 : DType::int8;
      tables.push_back({&k->dot, &k->dot, a, DType::int8});
    }
    for (const DTypeInfo& info : kDTypes) {
      const DType b = info.dtype;
      if (machine.float8 != nullptr) {
        const DType a = machine.float8->rows;
        const DotKernels* tiles =
            a == DType::float32 ? machine.floats : cpu::packer_of_bfloat16(machine);
        tables.push_back({&machine.float8->dot, tiles, a, b});
      }
      if (machine.e4m3 != nullptr && b == DType::float8_e4m3fn) {
        tables.push_back({machine.e4m3, machine.e4m3, b, b});
      }
      for (const DotKernels* pairs : {machine.pairs, machine.few_pairs}) {
        if (pairs != nullptr) tables.push_back({pairs, pairs, DType::bfloat16, b});
      }
      if (machine.floats != nullptr) {
        tables.push_back({machine.floats, machine.floats, DType::float32, b});
      }
    }
  }
  std::vector<UnpackedTable> once;  // machines share kernels
  for (const UnpackedTable& t : tables) {
    if (has(t) && std::ranges::find(once, t) == once.end()) once.push_back(t);
  }
  return once;
}

std::vector<UnpackedTable> unpacked_tables() {
  return tables_that([](const UnpackedTable& t) { return t.unpacked->unpacked != nullptr; });
}

// Of each row: the first one's undoes a flip, which says nothing of the others.
enum class Shifts { none, one, undoes_flip, each_row };
constexpr std::int32_t kUndoesFlip = 128;

struct Shape {
  std::int64_t rows, columns, depth;  // elements
  std::int64_t group;                 // of elements; 0: none
  Shifts shifts;
  int exponent = 0;  // A's numbers are times 2^exponent

  std::int64_t groups() const { return group == 0 ? 1 : (depth + group - 1) / group; }
  std::int64_t panels() const { return (columns + kCols - 1) / kCols; }
};

// A weight in place, right before a guard page, or right behind one.
class Weight {
 public:
  Weight(DType dtype, UnpackedOrder order, const Shape& s, std::int64_t gap, GuardedSide side)
      : dtype_(dtype),
        along_k_(order == UnpackedOrder::along_k),
        lines_(along_k_ ? s.columns : s.depth),
        size_(element_bytes(dtype)),
        ldb_(((along_k_ ? s.depth : s.columns) + gap) * size_),
        bytes_((lines_ - 1) * ldb_ + (along_k_ ? s.depth : s.columns) * size_, side) {
    const kit::Random random(static_cast<std::uint64_t>(s.columns * 1000 + s.depth));
    for (std::int64_t i = 0; i < bytes_.size(); ++i)
      bytes_[i] = static_cast<char>(byte_of(random, i));
    for (std::int64_t k = 0; k < s.depth; ++k) {
      for (std::int64_t j = 0; j < s.columns; ++j) put(random, k, j);
    }
  }
  const char* at(std::int64_t k, std::int64_t j) const {
    return bytes_.data() + (along_k_ ? j * ldb_ + k * size_ : k * ldb_ + j * size_);
  }
  const void* data() const { return bytes_.data(); }
  std::int64_t ldb() const { return ldb_; }
  DType dtype() const { return dtype_; }
  float value(std::int64_t k, std::int64_t j) const {
    return static_cast<float>(kit::load(dtype_, at(k, j), 0));
  }

 private:
  // Codes of 8 bits are any; wider elements are numbers, and any bits now and then.
  void put(const kit::Random& random, std::int64_t k, std::int64_t j) const {
    const std::int64_t index = k * 1031 + j;
    if (size_ == 1 || random.bits(static_cast<std::uint64_t>(index)) % 97 == 0) return;
    put_gaussian(random, index, dtype_, const_cast<char*>(at(k, j)));  // NOLINT
  }
  DType dtype_;
  bool along_k_;
  std::int64_t lines_, size_, ldb_;
  Block<char> bytes_;
};

// The rows of A, scales and shifts of a shape.
struct Beside {
  Rows a;
  Block<float> scale_a, scale_b;
  Block<std::int32_t> shift;

  Beside(DType dtype, const Shape& s)
      : a(Lie::ends_at_guards, s.depth * element_bytes(dtype), s.rows),
        scale_a(s.groups() * s.rows),
        scale_b(s.panels() * s.groups() * kCols),
        shift(s.shifts == Shifts::each_row ? s.rows : 1) {
    const kit::Random random(21);
    const bool floats = dtype != DType::int8 && dtype != DType::int16;
    for (std::int64_t r = 0; r < s.rows && floats; ++r) {
      for (std::int64_t k = 0; k < s.depth; ++k) {
        auto* place = a.row(r) + k * element_bytes(dtype);
        put_gaussian(random, r * s.depth + k, dtype, place);
        if (s.exponent == 0) continue;
        const TensorView number(place, dtype, {1});
        kit::store(number, 0, std::ldexp(kit::load(number, 0), s.exponent));
      }
    }
    const auto number = [&](std::int64_t i) { return static_cast<float>(gaussian(random, i)); };
    for (std::int64_t i = 0; i < scale_a.size(); ++i) scale_a[i] = number(i);
    for (std::int64_t i = 0; i < scale_b.size(); ++i) scale_b[i] = number(i + 777);
    shift.fill_random(22);
    if (s.shifts == Shifts::none) shift[0] = 0;
    if (s.shifts == Shifts::undoes_flip || s.shifts == Shifts::each_row) shift[0] = kUndoesFlip;
  }
};

// What both ways say of operands; sums and B are theirs.
DotTile common(const UnpackedTable& table, const Shape& s, const Beside& x, std::uint8_t flip) {
  const std::int64_t size = element_bytes(table.a);
  const bool grouped = s.group > 0;
  return {.depth = s.depth * size,
          .a = x.a.first(),
          .lda = x.a.lda(),
          .b = nullptr,
          .ldb = 0,
          .c = nullptr,
          .add = false,
          .ahead = nullptr,
          .group = s.group * size,
          .scale_a = grouped ? x.scale_a.data() : nullptr,
          .scale_a_stride = 1,
          .scale_a_group_stride = s.rows,
          .scale_b = grouped ? x.scale_b.data() : nullptr,
          .shift = x.shift.data(),
          .shift_stride = s.shifts == Shifts::each_row ? 1 : 0,
          .flip = table.integers() ? flip : std::uint8_t{0},
          .table = is_float8(table.weight) ? &cpu::float8_table(table.weight) : nullptr};
}

// [panels][rows][64] sums, or totals, in the bits of float32; and the sums of columns.
struct Sums {
  std::vector<std::uint32_t> sums;
  std::vector<std::int32_t> columns;
};

// By tiles of one row and the fewest vectors on a panel, whose elements are converted one by one.
Sums by_tiles(const UnpackedTable& table, const Shape& s, const Weight& w, const Beside& x,
              std::uint8_t flip) {
  Sums out{std::vector<std::uint32_t>(static_cast<std::size_t>(s.panels() * s.rows * kCols)),
           std::vector<std::int32_t>(static_cast<std::size_t>(s.panels() * kCols))};
  const std::int64_t grain = table.tiles->form.grain;
  for (std::int64_t p = 0; p < s.panels(); ++p) {
    const std::int64_t columns = std::min(kCols, s.columns - p * kCols);
    const Panel panel(table.tiles->form, s.depth);
    std::vector<std::int32_t> column_sums(static_cast<std::size_t>(s.groups() * kCols));
    for (std::int64_t k = 0; k < s.depth; ++k) {
      for (std::int64_t j = 0; j < columns; ++j) {
        if (!table.integers()) {
          kit::store(table.a, panel.at(k, j), 0, static_cast<double>(w.value(k, p * kCols + j)));
          continue;
        }
        const char code = *w.at(k, p * kCols + j);
        *panel.at(k, j) = code;
        const std::int64_t group = s.group == 0 ? 0 : k / s.group;
        column_sums[static_cast<std::size_t>(group * kCols + j)] += static_cast<std::int8_t>(code);
        out.columns[static_cast<std::size_t>(p * kCols + j)] += static_cast<std::int8_t>(code);
      }
    }
    for (std::int64_t r = 0; r < s.rows; ++r) {
      alignas(64) std::array<float, kCols> c{};
      alignas(64) std::array<float, kCols> total{};
      for (std::int64_t v = 0; v < cpu::kPanelVectors; v += grain) {
        DotTile t = common(table, s, x, flip);
        t.a = x.a.row(r);
        t.b = panel.vector(v);
        t.ldb = panel.ldb();
        t.c = c.data() + v * 16;
        t.shift += r * t.shift_stride;
        if (table.integers()) t.column_sums = column_sums.data() + v * 16;
        if (s.group > 0) {
          t.total = total.data() + v * 16;
          t.scale_a += r;
          t.scale_b += p * s.groups() * kCols + v * 16;
        }
        table.tiles->tile(1, grain, 0)(t);
      }
      std::memcpy(out.sums.data() + (p * s.rows + r) * kCols, s.group > 0 ? total.data() : c.data(),
                  sizeof(c));
    }
  }
  return out;
}

// Of tiny numbers a zero may have either sign: what is flushed has one, until another zero is added
// to it, and how many of these stand behind K differs.
bool same(std::uint32_t a, std::uint32_t b, bool floats, bool tiny) {
  if (a == b) return true;
  const float x = std::bit_cast<float>(a), y = std::bit_cast<float>(b);
  return floats && ((std::isnan(x) && std::isnan(y)) || (tiny && x == 0.0F && y == 0.0F));
}

// What a kernel computed, [panels][panel_rows][64], against what tiles did.
void expect_sums(const UnpackedTable& table, const char* how, UnpackedOrder order, const Shape& s,
                 std::int64_t panel_rows, const std::uint32_t* got, const Sums& want) {
  const bool floats = !table.integers() || s.group > 0;
  for (std::int64_t p = 0; p < s.panels(); ++p) {
    for (std::int64_t r = 0; r < s.rows; ++r) {
      for (std::int64_t j = 0; j < std::min(kCols, s.columns - p * kCols); ++j) {
        const std::uint32_t sum = got[(p * panel_rows + r) * kCols + j];
        const auto i = static_cast<std::size_t>((p * s.rows + r) * kCols + j);
        ASSERT_TRUE(same(sum, want.sums[i], floats, s.exponent != 0))
            << how << ", weight " << name(table.weight)
            << (order == UnpackedOrder::along_k ? " [N, K]" : " [K, N]") << ", " << s.rows << " x "
            << s.columns << " x " << s.depth << ", group " << s.group << ", row " << r
            << ", column " << p * kCols + j;
      }
    }
  }
}

void expect_kernel(const UnpackedTable& table, UnpackedKernel kernel, UnpackedOrder order,
                   const Shape& s, std::int64_t gap, GuardedSide side, std::uint8_t flip,
                   bool first_level) {
  const Weight w(table.weight, order, s, gap, side);
  const Beside x(table.a, s);
  const Sums want = by_tiles(table, s, w, x, flip);
  const Block<float> c(s.panels() * s.rows * kCols);
  const Block<float> total(c.size());
  std::fill_n(total.data(), total.size(), 0.0F);
  const Block<std::int32_t> columns(s.panels() * kCols);
  DotTile t = common(table, s, x, flip);
  t.b = w.data();
  t.ldb = w.ldb();
  t.c = c.data();
  t.first_level = first_level;
  t.ahead = (s.columns + s.depth) % 3 == 0 ? w.at(0, 0) : nullptr;
  t.total = s.group > 0 ? total.data() : nullptr;
  kernel({.tile = t,
          .rows = s.rows,
          .columns = s.columns,
          .panel_sums = s.rows * kCols,
          .panel_scales = s.groups() * kCols,
          .sums_out = s.shifts == Shifts::none ? nullptr : columns.data()});
  const auto* got = reinterpret_cast<const std::uint32_t*>(s.group > 0 ? total.data() : c.data());
  expect_sums(table, table.unpacked->how, order, s, s.rows, got, want);
  if (!table.integers() || s.group > 0) return;
  if (s.shifts == Shifts::none || s.shifts == Shifts::undoes_flip) return;
  for (std::int64_t j = 0; j < s.columns; ++j) {
    ASSERT_EQ(columns[j], want.columns[static_cast<std::size_t>(j)])
        << table.unpacked->how << ", " << s.rows << " x " << s.columns << " x " << s.depth
        << ", column " << j;
  }
}

// The kernels that are built for so many rows: CPUs whose lines go into the first-level cache may
// have one of their own.
void expect_same(const UnpackedTable& table, UnpackedOrder order, const Shape& s, std::int64_t gap,
                 GuardedSide side, std::uint8_t flip) {
  const auto kernel = [&](bool first_level) {
    return table.unpacked->unpacked({.weight = table.weight,
                                     .order = order,
                                     .rows = s.rows,
                                     .group = s.group * element_bytes(table.a),
                                     .first_level = first_level});
  };
  const bool first_level = (s.columns + s.depth) % 2 == 0;
  const UnpackedKernel own = kernel(first_level), other = kernel(!first_level);
  if (own != nullptr) expect_kernel(table, own, order, s, gap, side, flip, first_level);
  if (other == nullptr || other == own || ::testing::Test::HasFatalFailure()) return;
  expect_kernel(table, other, order, s, gap, side, flip, !first_level);
}

Shifts shifts_of(std::int64_t turn) {
  constexpr std::array kAll{Shifts::none, Shifts::one, Shifts::undoes_flip, Shifts::each_row,
                            Shifts::undoes_flip};
  return kAll[static_cast<std::size_t>(turn % 5)];
}

constexpr std::int64_t kMostRows = cpu::kMostUnpackedRows + 1;  // one more than any kernel takes
// Every number of rows that has a kernel of its own, and some that one takes in parts.
std::vector<std::int64_t> tested_rows() {
  std::vector<std::int64_t> rows(17);
  std::iota(rows.begin(), rows.end(), 1);
  rows.insert(rows.end(), {33, 48, 100});
  return rows;
}

// Calls visit(table, order, rows) for every kernel that is built for groups of so many elements,
// once for each type of weight: tables share kernels.
template <class Visit>
void for_each_kernel(std::int64_t group, const Visit& visit) {
  std::set<std::tuple<UnpackedKernel, DType, std::int64_t>> visited;
  for (const UnpackedTable& table : unpacked_tables()) {
    for (const UnpackedOrder order : {UnpackedOrder::along_k, UnpackedOrder::along_n}) {
      for (const std::int64_t rows : tested_rows()) {
        const std::int64_t bytes = group * element_bytes(table.a);
        const UnpackedKernel kernel = table.unpacked->unpacked({table.weight, order, rows, bytes});
        if (kernel == nullptr || !visited.emplace(kernel, table.weight, rows).second) continue;
        visit(table, order, rows);
        if (::testing::Test::HasFatalFailure()) return;
      }
    }
  }
}

TEST(UnpackedKernels, AreBuiltForEveryRowUpToAFew) {
  for (const UnpackedTable& table : unpacked_tables()) {
    for (const UnpackedOrder order : {UnpackedOrder::along_k, UnpackedOrder::along_n}) {
      for (const std::int64_t group : {0, 256, 12}) {
        const auto built = [&](std::int64_t rows) {
          return table.unpacked->unpacked({table.weight, order, rows, group}) != nullptr;
        };
        EXPECT_FALSE(built(0));
        EXPECT_FALSE(built(kMostRows));
        // What reads many rows reads fewer: workspaces are measured by that.
        for (std::int64_t rows = 2; rows < kMostRows; ++rows) {
          EXPECT_LE(built(rows), built(rows - 1)) << table.unpacked->how << ", " << rows;
        }
      }
    }
  }
}

TEST(UnpackedKernels, GiveTheBitsOfTilesAtTheEndsOfEveryExtent) {
  std::int64_t turn = 0;
  for_each_kernel(0, [&](const UnpackedTable& table, UnpackedOrder order, std::int64_t rows) {
    for (const std::int64_t columns : {1, 15, 16, 17, 31, 33, 63, 64, 65, 130, 200}) {
      if (order == UnpackedOrder::along_k && columns > kCols) continue;  // a panel at a time
      for (const std::int64_t depth : {1, 2, 3, 4, 5, 15, 16, 17, 31, 33, 63, 64, 65, 127, 130}) {
        ++turn;
        if ((turn + rows) % 4 != 0 && depth > 5) continue;
        expect_same(table, order, {rows, columns, depth, 0, shifts_of(turn / 3)}, turn % 5,
                    turn % 2 == 0 ? GuardedSide::left : GuardedSide::right,
                    turn % 2 == 0 ? 0x80 : 0);
        if (::testing::Test::HasFatalFailure()) return;
      }
    }
  });
}

TEST(UnpackedKernels, GiveTheBitsOfTilesAtAnyDepth) {
  std::int64_t turn = 0;
  for_each_kernel(0, [&](const UnpackedTable& table, UnpackedOrder order, std::int64_t rows) {
    // Beyond what is copied, fetched and taken together, and with all rows at once.
    for (const std::int64_t depth : {512, 1029, 4160, 7001, 20003, 28001}) {
      const bool at_once = depth == 7001 || depth == 28001;
      if (at_once ? rows * depth < 640 << 10 : ++turn % 3 != 0) continue;
      if (depth > 16384 && !table.integers()) continue;  // which alone copies so much
      expect_same(table, order, {rows, 40, depth, 0, shifts_of(turn / 3)}, 0, GuardedSide::right,
                  0x80);
    }
  });
}

// Threads may share more rows than sixteen, but not what was asked for.
TEST(UnpackedKernels, OfManyRowsTakeFewer) {
  for_each_kernel(0, [&](const UnpackedTable& table, UnpackedOrder order, std::int64_t rows) {
    if (rows <= 16) return;
    const UnpackedKernel kernel = table.unpacked->unpacked({table.weight, order, rows, 0});
    for (const std::int64_t fewer : {1, 2, 3, 4, 7, 13, 32}) {
      const Shape s{fewer, 40, 2100, 0, shifts_of(fewer)};
      expect_kernel(table, kernel, order, s, 1, GuardedSide::right, 0x80, false);
      if (::testing::Test::HasFatalFailure()) return;
    }
  });
}

TEST(UnpackedKernels, GiveTheBitsOfTilesUnderScalesAlongK) {
  std::int64_t turn = 0;
  for (const std::int64_t group : {8, 16, 32, 40, 64, 128, 192}) {
    for_each_kernel(group, [&](const UnpackedTable& table, UnpackedOrder order, std::int64_t rows) {
      for (const std::int64_t depth : {group - 4, group, group + 4, 3 * group, 5 * group + 4}) {
        const std::int64_t columns =
            order == UnpackedOrder::along_k ? 64 - ++turn % 40 : 30 + ++turn % 200;
        expect_same(table, order, {rows, columns, depth, group, shifts_of(turn)}, turn % 4,
                    GuardedSide::right, turn % 2 == 0 ? 0x80 : 0);
        if (::testing::Test::HasFatalFailure()) return;
      }
    });
  }
}

// Products and sums on both sides of 2^-126: what instructions flush depends on the step at which
// they look.
constexpr int kTiny = -124;
bool takes_tiny(const UnpackedTable& t) { return !t.integers() && element_bytes(t.a) > 1; }

TEST(UnpackedKernels, OfTinyNumbersGiveTheBitsOfTiles) {
  for_each_kernel(0, [&](const UnpackedTable& table, UnpackedOrder order, std::int64_t rows) {
    if (!takes_tiny(table)) return;
    for (const std::int64_t depth : {1, 31, 33, 64, 95, 200}) {
      expect_same(table, order, {rows, 40, depth, 0, Shifts::none, kTiny}, 1, GuardedSide::right,
                  0);
      if (::testing::Test::HasFatalFailure()) return;
    }
  });
}

// What multiplies this weight by rows of A that are transposed; null: nothing.
const cpu::TransposedUnpacked* transposed_of(const UnpackedTable& t) {
  return t.unpacked->transposed != nullptr ? t.unpacked->transposed(t.weight) : nullptr;
}

void expect_transposed(const UnpackedTable& table, const Shape& s, std::int64_t gap,
                       GuardedSide side) {
  const cpu::TransposedUnpacked& kernels = *transposed_of(table);
  const Weight w(table.weight, UnpackedOrder::along_k, s, gap, side);
  const Beside x(table.a, s);
  const Sums want = by_tiles(table, s, w, x, 0);
  const std::int64_t rows =
      (s.rows + cpu::kTransposedRows - 1) / cpu::kTransposedRows * cpu::kTransposedRows;
  const std::int64_t bytes = s.depth * element_bytes(table.a);
  const std::int64_t steps = (bytes + cpu::kTransposedDepth - 1) / cpu::kTransposedDepth *
                             (cpu::kTransposedDepth / cpu::kStepBytes);
  const std::int64_t step_bytes = rows * cpu::kStepBytes + gap % 2 * 64;
  const Block<char> transposed(steps * step_bytes);
  const Block<char> gathered(cpu::kGatheredBytes);
  for (std::int64_t r = 0; r < s.rows; r += cpu::kTransposedRows) {
    kernels.turn(x.a.row(r), x.a.lda(), std::min(cpu::kTransposedRows, s.rows - r), bytes,
                 transposed.data() + r * cpu::kStepBytes, step_bytes);
  }
  const Block<float> c(s.panels() * rows * kCols);
  DotTile t = common(table, s, x, 0);
  t.a = transposed.data();
  t.lda = step_bytes;
  t.b = w.data();
  t.ldb = w.ldb();
  t.c = c.data();
  kernels.run({.tile = t,
               .rows = s.rows,
               .columns = s.columns,
               .panel_sums = rows * kCols,
               .gathered = gathered.data()});
  expect_sums(table, kernels.how, UnpackedOrder::along_k, s, rows,
              reinterpret_cast<const std::uint32_t*>(c.data()), want);
}

TEST(UnpackedKernels, OfTransposedRowsGiveTheBitsOfTiles) {
  std::int64_t turn = 0;
  for (const UnpackedTable& table : tables_that(&transposed_of)) {
    const cpu::TransposedUnpacked& kernels = *transposed_of(table);
    EXPECT_LE(kernels.most_rows, cpu::kMostUnpackedRows);
    for (const std::int64_t rows : {1, 15, 16, 17, 31, 32, 33, 47, 48, 49, 64, 80, 100}) {
      for (const std::int64_t columns : {1, 15, 16, 17, 31, 33, 48, 63, 64, 65, 130}) {
        for (const std::int64_t depth : {1, 2, 15, 31, 32, 33, 63, 64, 65, 127, 130, 200}) {
          if ((++turn + rows) % 5 != 0) continue;
          expect_transposed(table, {rows, columns, depth, 0, Shifts::none}, turn % 5,
                            turn % 2 == 0 ? GuardedSide::left : GuardedSide::right);
          if (HasFatalFailure()) return;
        }
      }
    }
    // Several chunks of K: of columns that are gathered, and of rows that a cache does not keep.
    for (const std::int64_t depth : {2048, 4097, 8200}) {
      expect_transposed(table, {33, 70, depth, 0, Shifts::none}, 1, GuardedSide::right);
      expect_transposed(table, {kernels.most_rows, 33, depth, 0, Shifts::none}, 0,
                        GuardedSide::left);
      if (HasFatalFailure()) return;
    }
  }
}

}  // namespace
}  // namespace octavo::test::unpacked_test
