// SPDX-License-Identifier: Apache-2.0
// Packing B for the dot-product tiles: the exact elements and sums of a scalar loop from any type,
// nothing read or written outside.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>
#include <vector>

#include "dot_operands.hpp"

namespace octavo::test::dot_pack_test {
namespace {

using cpu::IntegerKernels;
using cpu::kPanelVectors;
using cpu::kVectorCols;

constexpr std::int64_t kStep = cpu::kInt8Form.step;

// One type of B and what packs it.
struct Packer {
  std::string how;
  void (*pack)(const cpu::PackPiece& piece) noexcept;
  cpu::PanelForm form;
  DType from, to;

  bool has_sums() const { return to == DType::int8 || to == DType::int16; }
  // Rows whose elements are packed together, and written together where they become wider.
  std::int64_t rows() const {
    return from == to ? form.step : std::max(cpu::kStepBytes / element_bytes(from), form.step);
  }
};

void add_packers(const cpu::DotKernels& kernels, DType to, std::vector<Packer>& all) {
  std::vector<DType> types(kFloat8Types.begin(), kFloat8Types.end());
  types.insert(types.end(), {DType::int8, DType::bfloat16, DType::float16, DType::float32});
  for (const DType from : types) {
    if (!cpu::holds(kernels.form, from)) continue;
    all.push_back(
        {kernels.how, kernels.pack, kernels.form, from, to == DType::undefined ? from : to});
  }
}

const std::vector<Packer>& packers() {
  static const std::vector<Packer> found = [] {
    std::vector<Packer> all;
    for (const IntegerKernels* k : integer_kernels()) {
      const DType to = k->dot.form.step >= kStep ? DType::int8 : DType::int16;
      all.push_back({k->dot.how, k->dot.pack, k->dot.form, DType::int8, to});
    }
    for (const auto* k : pair_kernels()) add_packers(*k, DType::bfloat16, all);
    for (const auto* k : kernels_at(&cpu::DotMachine::floats)) add_packers(*k, DType::float32, all);
    for (const cpu::Float8Kernels* k : kernels_at(&cpu::DotMachine::float8)) {
      add_packers(k->dot, DType::undefined, all);
      for (const DType from : kFloat8Types) {
        if (k->pack_pairs == nullptr) continue;
        all.push_back({k->dot.how, k->pack_pairs, cpu::kBf16Form, from, DType::bfloat16});
      }
    }
    return all;
  }();
  return found;
}

// How a piece of B lies.
struct Strides {
  const char* what;
  std::int64_t (*k)(std::int64_t depth, std::int64_t columns);
  std::int64_t (*n)(std::int64_t depth, std::int64_t columns);
};
const Strides kStrides[] = {
    {"rows together", [](std::int64_t, std::int64_t n) { return n; },
     [](std::int64_t, std::int64_t) { return std::int64_t{1}; }},
    {"rows apart", [](std::int64_t, std::int64_t n) { return n + 5; },
     [](std::int64_t, std::int64_t) { return std::int64_t{1}; }},
    {"rows upwards", [](std::int64_t, std::int64_t n) { return -n - 1; },
     [](std::int64_t, std::int64_t) { return std::int64_t{1}; }},
    {"one row", [](std::int64_t, std::int64_t) { return std::int64_t{0}; },
     [](std::int64_t, std::int64_t) { return std::int64_t{1}; }},
    {"columns together", [](std::int64_t, std::int64_t) { return std::int64_t{1}; },
     [](std::int64_t k, std::int64_t) { return k; }},
    {"columns apart", [](std::int64_t, std::int64_t) { return std::int64_t{1}; },
     [](std::int64_t k, std::int64_t) { return k + 3; }},
    {"columns backwards", [](std::int64_t, std::int64_t) { return std::int64_t{1}; },
     [](std::int64_t k, std::int64_t) { return -k - 2; }},
    {"one column", [](std::int64_t, std::int64_t) { return std::int64_t{1}; },
     [](std::int64_t, std::int64_t) { return std::int64_t{0}; }},
    {"neither", [](std::int64_t, std::int64_t n) { return 2 * n + 1; },
     [](std::int64_t, std::int64_t) { return std::int64_t{2}; }},
    {"both backwards", [](std::int64_t, std::int64_t) { return std::int64_t{-1}; },
     [](std::int64_t k, std::int64_t) { return -k; }},
    {"rows backwards", [](std::int64_t, std::int64_t n) { return n; },
     [](std::int64_t, std::int64_t) { return std::int64_t{-1}; }},
};

// The float32 bits of an element, NaN as one.
std::uint32_t value_bits(DType dtype, const char* element) {
  if (dtype == DType::int16) {
    std::int16_t word;
    std::memcpy(&word, element, sizeof(word));
    return std::bit_cast<std::uint32_t>(static_cast<float>(word));
  }
  const auto value = static_cast<float>(kit::load(dtype, element, 0));
  return value != value ? 0x7FC00000U : std::bit_cast<std::uint32_t>(value);
}

struct Piece {
  std::int64_t depth, columns;
  GuardedSide side;
  std::int64_t offset = 0;  // bytes that B begins behind its guard page
};

void expect_packed(const Packer& packer, const Strides& strides, const Piece& piece) {
  const std::int64_t depth = piece.depth;
  const std::int64_t columns = piece.columns;
  const std::int64_t size = element_bytes(packer.from);
  const std::int64_t stride_k = strides.k(depth, columns);
  const std::int64_t stride_n = strides.n(depth, columns);
  std::int64_t low = 0;
  std::int64_t high = 0;
  if (depth > 0) {
    for (const std::int64_t reach : {stride_k * (depth - 1), stride_n * (columns - 1)}) {
      (reach < 0 ? low : high) += reach;
    }
  }
  const Block<char> source((depth > 0 ? high - low + 1 : 0) * size + piece.offset, piece.side);
  const kit::Random random(static_cast<std::uint64_t>(depth * 64 + columns));
  for (std::int64_t i = 0; i < source.size(); ++i) {
    source[i] = static_cast<char>(byte_of(random, i));
  }
  const char* b = source.data() + piece.offset - low * size;
  const auto element = [&](std::int64_t k, std::int64_t j) {
    return b + (k * stride_k + j * stride_n) * size;
  };

  const std::int64_t grain = kVectorCols * packer.form.grain;
  const std::int64_t padded = (columns + grain - 1) / grain * grain;
  const std::int64_t rows = (depth + packer.rows() - 1) / packer.rows() * packer.rows();
  const Panel want(packer.form, rows, padded / kVectorCols);
  const Panel panel(packer.form, rows, padded / kVectorCols);
  panel.bytes().fill_random(1);
  const Block<std::int32_t> sums(packer.has_sums() ? padded : 0);
  sums.fill_random(2);
  std::vector<std::uint32_t> want_sums(sums.data(), sums.data() + sums.size());
  for (std::int64_t k = 0; k < depth && (packer.from == packer.to || packer.has_sums()); ++k) {
    for (std::int64_t j = 0; j < columns; ++j) {
      const char* code = element(k, j);
      if (packer.from == packer.to)
        std::memcpy(want.at(k, j), code, static_cast<std::size_t>(size));
      if (!packer.has_sums()) continue;
      want_sums[static_cast<std::size_t>(j)] +=
          static_cast<std::uint32_t>(static_cast<std::int8_t>(*code));
    }
  }
  packer.pack({.dtype = packer.from,
               .b = b,
               .stride_k = stride_k,
               .stride_n = stride_n,
               .depth = depth,
               .columns = columns,
               .panel = panel.bytes().data(),
               .sums = sums.data(),
               .table = is_float8(packer.from) ? &cpu::float8_table(packer.from) : nullptr,
               .next = depth % 2 == 0 ? b : nullptr});
  const std::string what = packer.how + ", " + std::string(name(packer.from)) + " to " +
                           std::string(name(packer.to)) + ", " + strides.what + ", " +
                           std::to_string(depth) + " x " + std::to_string(columns);
  if (packer.from == packer.to) {
    const Block<char>& bytes = want.bytes();
    ASSERT_TRUE(std::equal(bytes.data(), bytes.data() + bytes.size(), panel.bytes().data()))
        << what;
  }
  for (std::int64_t k = 0; k < rows && packer.from != packer.to; ++k) {
    for (std::int64_t j = 0; j < padded; ++j) {
      const bool inside = k < depth && j < columns;
      ASSERT_EQ(value_bits(packer.to, panel.at(k, j)),
                inside ? value_bits(packer.from, element(k, j)) : 0U)
          << what << ", row " << k << ", column " << j;
    }
  }
  for (std::int64_t j = 0; j < sums.size(); ++j) {
    ASSERT_EQ(static_cast<std::uint32_t>(sums[j]), want_sums[static_cast<std::size_t>(j)])
        << what << ", the sum of column " << j;
  }
}

TEST(DotPackers, GiveTheBytesAndSumsOfAScalarLoop) {
  for (const Packer& packer : packers()) {
    const std::int64_t size = element_bytes(packer.from);
    const bool every = packer.has_sums();
    for (const Strides& strides : kStrides) {
      for (std::int64_t columns = 1; columns <= kCols; columns += every ? 1 : 7) {
        for (const std::int64_t bytes : {0, 1, 2, 3, 4, 7, 64, 65, 130}) {
          expect_packed(packer, strides, {(bytes + size - 1) / size, columns, GuardedSide::right});
        }
        expect_packed(packer, strides, {66 / size, columns, GuardedSide::left});
        if (HasFatalFailure()) return;
      }
      for (const std::int64_t columns : {16, 31, 33, 48, 63}) {
        expect_packed(packer, strides, {300, columns, GuardedSide::right});
        expect_packed(packer, strides, {35, columns, GuardedSide::left, 1});
      }
      if (HasFatalFailure()) return;
    }
  }
}

TEST(DotPackers, GiveBackWhatTheyPacked) {
  for (const IntegerKernels* kernels : integer_kernels()) {
    if (kernels->unpack == nullptr) continue;
    for (const std::int64_t squares : {0, 1, 3}) {
      for (const std::int64_t vectors : {1, 4}) {
        const std::int64_t depth = 64 * squares;
        const std::int64_t columns = vectors * kVectorCols;
        const Block<std::int8_t> b(columns * depth);
        b.fill_random(6);
        const Block<std::int8_t> panel(columns * depth);
        std::vector<std::int32_t> sums(static_cast<std::size_t>(columns));
        kernels->dot.pack({.dtype = DType::int8,
                           .b = b.data(),
                           .stride_k = 1,
                           .stride_n = depth,
                           .depth = depth,
                           .columns = columns,
                           .panel = panel.data(),
                           .sums = sums.data()});
        // Columns on their own, the last ones before a guard page.
        for (std::int64_t v = 0; v < vectors; ++v) {
          const Block<std::int8_t> back(kVectorCols * depth);
          kernels->unpack({.panel = panel.data() + v * kVectorCols * kStep,
                           .step_bytes = columns * kStep,
                           .squares = squares,
                           .b = back.data(),
                           .stride_n = depth});
          EXPECT_TRUE(std::equal(back.data(), back.data() + back.size(),
                                 b.data() + v * kVectorCols * depth))
              << kernels->dot.how << ", " << depth << " rows, vector " << v;
        }
      }
    }
  }
}

// 16-bit partial sums would wrap or saturate.
TEST(DotPackers, SumExtremeColumns) {
  constexpr std::int64_t kDepth = 65536;
  for (const int code : {-128, 127}) {
    const std::vector<std::int8_t> b(static_cast<std::size_t>(kDepth),
                                     static_cast<std::int8_t>(code));
    const Block<std::int16_t> panel(kDepth * kCols);  // words at most
    const Block<std::int32_t> sums(kCols);
    for (const IntegerKernels* kernels : integer_kernels()) {
      std::fill_n(sums.data(), kCols, 0);
      kernels->dot.pack({.dtype = DType::int8,
                         .b = b.data(),
                         .stride_k = 1,
                         .stride_n = 0,
                         .depth = kDepth,
                         .columns = kCols,
                         .panel = panel.data(),
                         .sums = sums.data()});
      for (std::int64_t j = 0; j < kCols; ++j) ASSERT_EQ(sums[j], kDepth * code);
    }
  }
}

}  // namespace
}  // namespace octavo::test::dot_pack_test
