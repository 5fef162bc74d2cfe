// SPDX-License-Identifier: Apache-2.0
// LLM.int8's outliers: found and summed by every kernel table as a scalar loop does it, nothing
// read or written beside what belongs to the call.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <vector>

#include "backends/cpu/row_kernels.hpp"
#include "block.hpp"
#include "core/data/element.hpp"
#include "kit/operands/random.hpp"

namespace octavo::test::outliers_test {
namespace {

using cpu::Kernels;

constexpr float kLimits[] = {1.5F, 0x1p-149F, 100.0F, std::numeric_limits<float>::infinity()};

// Numbers, NaN and infinities in a row that ends where memory does.
Block<char> elements(DType dtype, std::int64_t count, std::uint64_t seed) {
  const kit::Random random(seed);
  Block<char> block(count * element_bytes(dtype));
  for (std::int64_t i = 0; i < count; ++i) {
    const auto at = static_cast<std::uint64_t>(i);
    float value = static_cast<float>(random.gauss(at));
    if (i % 37 == 11) value = 1.5F;
    if (i % 41 == 5) value = std::numeric_limits<float>::quiet_NaN();
    if (i % 53 == 7) value = -std::numeric_limits<float>::infinity();
    store_float(dtype, block.data(), i, value, Overflow::ieee);
  }
  return block;
}

TEST(OutlierKernels, FindFlagsAndTheMagnitudeBelow) {
  for (const Kernels* kernel : cpu::usable_kernels()) {
    for (const DType dtype : {DType::float32, DType::bfloat16, DType::float16}) {
      for (const std::int64_t count : {0, 1, 3, 4, 7, 8, 15, 16, 17, 33, 64, 500}) {
        const Block<char> row = elements(dtype, count, static_cast<std::uint64_t>(count));
        for (const float limit : kLimits) {
          const Block<std::uint8_t> flags(count);
          std::vector<std::uint8_t> want(static_cast<std::size_t>(count));
          float most = 0.0F;
          for (std::int64_t i = 0; i < count; ++i) {
            flags.data()[i] = want[static_cast<std::size_t>(i)] = i % 9 == 1 ? 1 : 0;
            const float magnitude = std::abs(load_float(dtype, row.data(), i));
            if (magnitude >= limit) want[static_cast<std::size_t>(i)] = 1;
            if (magnitude < limit && !std::isnan(most)) most = std::max(most, magnitude);
            if (std::isnan(magnitude)) most = magnitude;
          }
          const float got = kernel->find_outliers(
              dtype, row.data(), count, std::bit_cast<std::uint32_t>(limit), flags.data());
          EXPECT_TRUE(got == most || (std::isnan(got) && std::isnan(most)))
              << kernel->on_floats << ", " << count << " elements";
          EXPECT_EQ(flags.copy(), want) << kernel->on_floats << ", " << count << " elements";
        }
      }
    }
  }
}

TEST(OutlierKernels, ScanLinesOfColumns) {
  for (const Kernels* kernel : cpu::usable_kernels()) {
    for (const DType dtype : {DType::float32, DType::bfloat16, DType::float16}) {
      for (const std::int64_t count : {1, 5, 16, 37, 64}) {
        for (const std::int64_t lines : {0, 1, 3, 4, 6}) {
          const std::int64_t step = count + 3;  // elements from one line to the next
          const std::int64_t all = lines == 0 ? 0 : (lines - 1) * step + count;
          const Block<char> x = elements(dtype, all, static_cast<std::uint64_t>(count));
          for (const float limit : kLimits) {
            for (const bool finds : {false, true}) {
              const Block<std::uint8_t> flags(lines);
              std::fill_n(flags.data(), lines, std::uint8_t{0});
              std::vector<std::int32_t> most((static_cast<std::size_t>(count) + 15) / 16 * 16, 7);
              std::vector<std::uint8_t> want(static_cast<std::size_t>(lines));
              std::vector<std::int32_t> reached(static_cast<std::size_t>(count), 7);
              for (std::int64_t l = 0; l < lines; ++l) {
                for (std::int64_t i = 0; i < count; ++i) {
                  const float m = std::abs(load_float(dtype, x.data(), l * step + i));
                  auto& known = reached[static_cast<std::size_t>(i)];
                  if (!(m >= limit)) known = std::max(known, std::bit_cast<std::int32_t>(m));
                  if (finds && m >= limit) want[static_cast<std::size_t>(l)] = 1;
                }
              }
              kernel->scan_lines({.from = dtype,
                                  .source = x.data(),
                                  .line_bytes = step * element_bytes(dtype),
                                  .lines = lines,
                                  .count = count,
                                  .limit = std::bit_cast<std::uint32_t>(limit),
                                  .most = most.data(),
                                  .flags = finds ? flags.data() : nullptr});
              most.resize(static_cast<std::size_t>(count));
              EXPECT_EQ(most, reached) << kernel->on_floats << ", " << lines << " of " << count;
              EXPECT_EQ(flags.copy(), want)
                  << kernel->on_floats << ", " << lines << " of " << count;
            }
          }
        }
      }
    }
  }
}

TEST(OutlierKernels, AddProductsInTheirOrderEachRounded) {
  constexpr std::int64_t kRows = 7, kCount = 19, kStride = 23;
  constexpr std::int64_t kStep = (kCount + 1) * cpu::kPanelCols;
  const kit::Random random(3);
  const auto fill = [&](const Block<float>& block, std::int64_t count, std::uint64_t from) {
    for (std::int64_t i = 0; i < count; ++i) {
      block.data()[i] = static_cast<float>(random.gauss(from + static_cast<std::uint64_t>(i)));
    }
  };
  constexpr std::int64_t kWeights =
      (cpu::kTileCols / cpu::kPanelCols - 1) * kStep + kCount * cpu::kPanelCols;
  static_assert(kWeights >= kCount * cpu::kTileCols);
  const Block<float> values((kRows - 1) * kStride + kCount);
  const Block<float> weights(kWeights);
  fill(values, (kRows - 1) * kStride + kCount, 0);
  fill(weights, kWeights, 1000);
  const std::array<std::int32_t, kRows> counts{0, 19, 1, 7, 3, 2, 19};
  const std::array<std::uint16_t, 6> picks{0, 1, 5, 6, 11, 18};
  std::vector<std::uint16_t> places(kRows * kStride);
  for (std::size_t i = 0; i < places.size(); ++i) {
    places[i] = static_cast<std::uint16_t>(i * 7 % kCount);
  }
  enum class Pick { all, shared, listed };
  for (const Kernels* kernel : cpu::usable_kernels()) {
    for (const Pick pick : {Pick::all, Pick::shared, Pick::listed}) {
      for (const bool first : {false, true}) {
        const bool panels = !first;  // else rows of all columns
        const std::int64_t step = panels ? kStep : cpu::kPanelCols;
        const std::int64_t row = panels ? cpu::kPanelCols : cpu::kTileCols;
        const bool listed = pick == Pick::listed;
        const bool shared = pick == Pick::shared;
        const Block<float> sums(kRows * cpu::kTileCols);
        fill(sums, kRows * cpu::kTileCols, 5000);
        std::vector<float> want = sums.copy();
        for (std::int64_t r = 0; r < kRows; ++r) {
          std::int64_t count = kCount;
          if (shared) count = static_cast<std::int64_t>(picks.size());
          if (listed) count = counts[static_cast<std::size_t>(r)];
          for (std::int64_t j = 0; j < cpu::kTileCols; ++j) {
            float& sum = want[static_cast<std::size_t>(r * cpu::kTileCols + j)];
            if (first) sum = 0.0F;
            for (std::int64_t i = 0; i < count; ++i) {
              const std::int64_t element = shared ? picks[static_cast<std::size_t>(i)] : i;
              const std::int64_t k =
                  listed ? places[static_cast<std::size_t>(r * kStride + i)] : element;
              const float product =
                  values.data()[r * kStride + element] *
                  weights.data()[j / cpu::kPanelCols * step + k * row + j % cpu::kPanelCols];
              sum += product;
            }
          }
        }
        kernel->add_outliers({.rows = kRows,
                              .values = values.data(),
                              .stride = kStride,
                              .count = shared ? static_cast<std::int64_t>(picks.size()) : kCount,
                              .picks = shared ? picks.data() : nullptr,
                              .counts = listed ? counts.data() : nullptr,
                              .places = listed ? places.data() : nullptr,
                              .weights = weights.data(),
                              .weight_step = step,
                              .weight_row = row,
                              .first = first,
                              .sums = sums.data()});
        EXPECT_EQ(sums.copy(), want) << kernel->on_floats;
      }
    }
  }
}

}  // namespace
}  // namespace octavo::test::outliers_test
