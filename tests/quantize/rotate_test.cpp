// SPDX-License-Identifier: Apache-2.0
// rotate: the matrix that section 6 names, its own inverse within its roundings, the same bits on
// every backend.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "octavo/rotate.hpp"
#include "ops/helpers.hpp"

namespace octavo::test::rotate_test {
namespace {

constexpr DType kTypes[] = {DType::float32, DType::bfloat16, DType::float16};
constexpr std::int32_t kBlocks[] = {16, 64, 256};

// The sign of an element of the Kronecker power of the regular matrix of 4 x 4, whose own are
// negative where row and column are 3 together.
double sign(std::int64_t i, std::int64_t j) {
  double product = 1.0;
  for (; i > 0 || j > 0; i /= 4, j /= 4) product *= i % 4 + j % 4 == 3 ? -1.0 : 1.0;
  return product;
}

TEST(Rotate, IsTheMatrix) {
  for (const std::int32_t block : kBlocks) {
    const Tensor x = tensor_of(DType::float32, {block, 2 * block}, [&](std::int64_t i) {
      return i % (2 * block) == i / (2 * block) + block ? 1.0 : 0.0;  // in the second block
    });
    const Tensor y = rotate(x, {.block = block});
    for (std::int64_t i = 0; i < block; ++i) {
      for (std::int64_t j = 0; j < block; ++j) {
        ASSERT_EQ(at(y, i, j), 0.0);
        ASSERT_EQ(at(y, i, block + j), sign(i, j) / std::sqrt(block)) << block;
      }
    }
  }
}

TEST(Rotate, IsItsOwnInverseWithinItsRoundings) {
  for (const std::int32_t block : kBlocks) {
    const Tensor x = gaussians(DType::float32, {5, 3 * block}, 1, 8.0);
    const Tensor once = rotate(x, {.block = block});
    const Tensor twice = rotate(once, {.block = block});
    const double roundings = 2 * 4 * std::log2(block) / 2;  // four a stage
    const double unit = roundings * 0x1p-24 / (1.0 - roundings * 0x1p-24);
    for (std::int64_t r = 0; r < 5; ++r) {
      for (std::int64_t begin = 0; begin < 3 * block; begin += block) {
        double magnitudes = 0.0;
        for (std::int64_t j = begin; j < begin + block; ++j) magnitudes += std::abs(at(x, r, j));
        for (std::int64_t j = begin; j < begin + block; ++j) {
          ASSERT_LE(std::abs(at(twice, r, j) - at(x, r, j)), unit * magnitudes);
        }
      }
    }
  }
}

TEST(Rotate, HasTheReferencesBits) {
  for (const DType from : kTypes) {
    for (const DType to : kTypes) {
      for (const std::int32_t block : kBlocks) {
        for (const std::int64_t blocks : {0, 1, 3, 9, 33}) {
          const Tensor x = gaussians(from, {3, 2, blocks * block}, 1, 20.0);
          RotateOptions o{.block = block, .out_dtype = to, .backend = "reference"};
          const Tensor want = rotate(x, o);
          o.backend = nullptr;
          const Tensor got = rotate(x, o);
          EXPECT_EQ(got.dtype(), to);
          expect_same_bits(got, want);
          const Strided apart = strided(x, {1, 5, 11});
          const Strided out = strided(want, {-1, 3, 7});
          fill_with_poison(out.view);
          o.out = out.view;
          (void)rotate(apart.view, o);
          expect_same_bits(out.view, want);
        }
      }
    }
  }
}

TEST(Rotate, RowsAndThreadsDoNotMatter) {
  const Tensor x = gaussians(DType::bfloat16, {300, 512}, 1);
  const Tensor want = rotate(x, {.block = 256});
  for (const int threads : {1, 2, 3}) {
    ThreadExecutor executor(threads);
    expect_same_bits(rotate(x, {.block = 256}, {.executor = &executor}), want);
  }
  expect_same_bits(rotate(x.view().slice(0, 7, 8), {.block = 256}), want.view().slice(0, 7, 8));
}

// A block with what is not finite has nothing finite; others do not see it. Every NaN is one.
TEST(Rotate, SpecialValuesFillTheirBlock) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float most = std::numeric_limits<float>::max();
  const float negative_nan = std::bit_cast<float>(0xFFC12345U);
  for (const std::int32_t block : kBlocks) {
    const auto wide = static_cast<std::size_t>(block);
    for (const float special : {infinity, -infinity, negative_nan}) {
      for (const std::size_t place : {std::size_t{0}, wide - 1}) {
        std::vector<float> row(3 * wide, 1.0F);
        row[wide + place] = special;
        for (const char* backend : {"reference", static_cast<const char*>(nullptr)}) {
          const Tensor y = rotate(view(row, {1, 3 * block}), {.block = block, .backend = backend});
          for (std::size_t j = 0; j < row.size(); ++j) {
            const float got = y.data_as<float>()[j];
            EXPECT_EQ(std::isfinite(got), j / wide != 1) << j;
            if (!std::isnan(got)) continue;
            EXPECT_EQ(std::bit_cast<std::uint32_t>(got), 0x7FC00000U);
          }
        }
      }
    }
    const std::vector<float> large(wide, most);
    EXPECT_FALSE(
        std::isfinite(rotate(view(large, {1, block}), {.block = block}).data_as<float>()[0]));
  }
}

}  // namespace
}  // namespace octavo::test::rotate_test
