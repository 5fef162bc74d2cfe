// SPDX-License-Identifier: Apache-2.0
// Packing B for the dot-product tiles: the exact bytes and sums of a scalar loop, nothing read or
// written outside.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "backends/cpu/kernels/dot.hpp"
#include "block.hpp"
#include "machines.hpp"

namespace octavo::test {
namespace {

using cpu::IntegerKernels;
using cpu::kPanelVectors;
using cpu::kVectorCols;

constexpr std::int64_t kStep = cpu::kInt8Form.step;

constexpr std::int64_t kCols = kPanelVectors * kVectorCols;

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

void expect_packed(const IntegerKernels& kernels, const Strides& strides, std::int64_t depth,
                   std::int64_t columns, Side side) {
  const std::int64_t stride_k = strides.k(depth, columns);
  const std::int64_t stride_n = strides.n(depth, columns);
  std::int64_t low = 0;
  std::int64_t high = 0;
  if (depth > 0) {
    for (const std::int64_t reach : {stride_k * (depth - 1), stride_n * (columns - 1)}) {
      (reach < 0 ? low : high) += reach;
    }
  }
  const Block<std::int8_t> source(depth > 0 ? high - low + 1 : 0, side);
  const kit::Random random(static_cast<std::uint64_t>(depth * 64 + columns));
  for (std::int64_t i = 0; i < source.size(); ++i) {
    source[i] = static_cast<std::int8_t>(byte_of(random, i));
  }
  const std::int8_t* b = source.data() - low;

  const std::int64_t steps = (depth + kStep - 1) / kStep;
  const std::int64_t padded = (columns + kVectorCols - 1) / kVectorCols * kVectorCols;
  const Block<std::int8_t> panel(steps * padded * kStep);
  panel.fill_random(1);
  const Block<std::int32_t> sums(padded);
  sums.fill_random(2);
  std::vector<std::int8_t> want(static_cast<std::size_t>(panel.size()));
  std::vector<std::uint32_t> want_sums(sums.data(), sums.data() + padded);
  for (std::int64_t k = 0; k < depth; ++k) {
    for (std::int64_t j = 0; j < columns; ++j) {
      const std::int8_t code = b[k * stride_k + j * stride_n];
      want[static_cast<std::size_t>((k / kStep * padded + j) * kStep + k % kStep)] = code;
      want_sums[static_cast<std::size_t>(j)] += static_cast<std::uint32_t>(code);
    }
  }
  kernels.pack({.b = b,
                .stride_k = stride_k,
                .stride_n = stride_n,
                .depth = depth,
                .columns = columns,
                .panel = panel.data(),
                .sums = sums.data()});
  const std::string what = std::string(kernels.dot.how) + ", " + strides.what + ", " +
                           std::to_string(depth) + " x " + std::to_string(columns);
  EXPECT_TRUE(std::equal(want.begin(), want.end(), panel.data())) << what;
  for (std::int64_t j = 0; j < padded; ++j) {
    ASSERT_EQ(static_cast<std::uint32_t>(sums[j]), want_sums[static_cast<std::size_t>(j)])
        << what << ", the sum of column " << j;
  }
}

TEST(DotPackers, GiveTheBytesAndSumsOfAScalarLoop) {
  for (const IntegerKernels* kernels : integer_kernels()) {
    for (const Strides& strides : kStrides) {
      for (std::int64_t columns = 1; columns <= kCols; ++columns) {
        for (const std::int64_t depth : {0, 1, 2, 3, 4, 7, 64, 65, 130}) {
          expect_packed(*kernels, strides, depth, columns, Side::right);
        }
        expect_packed(*kernels, strides, 66, columns, Side::left);
      }
    }
  }
}

TEST(DotPackers, GiveBackWhatTheyPacked) {
  for (const IntegerKernels* kernels : integer_kernels()) {
    for (const std::int64_t squares : {0, 1, 3}) {
      for (const std::int64_t vectors : {1, 4}) {
        const std::int64_t depth = 64 * squares;
        const std::int64_t columns = vectors * kVectorCols;
        const Block<std::int8_t> b(columns * depth);
        b.fill_random(6);
        const Block<std::int8_t> panel(columns * depth);
        std::vector<std::int32_t> sums(static_cast<std::size_t>(columns));
        kernels->pack({.b = b.data(),
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
    const Block<std::int8_t> panel(kDepth * kCols);
    const Block<std::int32_t> sums(kCols);
    for (const IntegerKernels* kernels : integer_kernels()) {
      std::fill_n(sums.data(), kCols, 0);
      kernels->pack({.b = b.data(),
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
}  // namespace octavo::test
