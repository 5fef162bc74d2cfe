// SPDX-License-Identifier: Apache-2.0
// From sums to the output, on every instruction set, alone: the bits of a scalar loop over
// store_float, nothing read or written outside.
#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "backends/cpu/row_kernels.hpp"
#include "backends/cpu/streams.hpp"
#include "block.hpp"
#include "core/data/element.hpp"

namespace octavo::test::finish_test {
namespace {

using cpu::FinishStep;
using cpu::Kernels;
using cpu::kTileCols;
using Kind = FinishStep::Kind;

constexpr std::int64_t kRows = 5;

// Everything that rounding to 8 and 16 bits meets, in either sign.
std::vector<float> special_floats() {
  std::vector<float> all;
  const auto add = [&](std::uint32_t bits) {
    all.push_back(std::bit_cast<float>(bits));
    all.push_back(std::bit_cast<float>(bits | 0x80000000U));
  };
  for (const std::uint32_t bits : {0U, 1U, 0x007FFFFFU, 0x00800000U, 0x00008000U, 0x00018000U}) {
    add(bits);  // subnormals, bfloat16's ties among them
  }
  for (const std::uint32_t upper : {0x3F80U, 0x3F81U, 0x4B7FU, 0x7F7EU, 0x7F7FU, 0x3F7FU}) {
    for (const std::uint32_t lower : {0x7FFFU, 0x8000U, 0x8001U, 0xFFFFU}) {
      add(upper << 16 | lower);  // around ties to even, up to infinity
    }
  }
  for (const float value : {0.5F,     1.5F,    2.5F,     126.5F,   127.5F,   128.5F,   254.5F,
                            255.5F,   448.0F,  464.0F,   465.0F,   57344.0F, 61440.0F, 65519.0F,
                            65520.0F, 0x1p-9F, 0x1p-10F, 0x1p-17F, 0x1p-25F, 3e38F}) {
    add(std::bit_cast<std::uint32_t>(value));
  }
  return all;
}
const std::uint32_t kNotFinite[] = {0x7F800000U, 0xFF800000U, 0x7FC00000U, 0xFFC00000U, 0x7F800001U,
                                    0xFF80FFFFU, 0x7FFFFFFFU, 0xFFFFFFFFU, 0x7FBF8000U};

// Sums whose rows 0 and 1 are special, infinities and NaNs in row 1 alone.
Block<float> float_sums() {
  const Block<float> sums(kRows * kTileCols);
  const std::vector<float> special = special_floats();
  const kit::Random random(1);
  for (std::int64_t i = 0; i < sums.size(); ++i) {
    const auto n = static_cast<std::uint64_t>(i);
    sums[i] = i < 2 * kTileCols ? special[n % special.size()]
                                : static_cast<float>(200.0 * random.gauss(n));
  }
  for (std::size_t i = 0; i < std::size(kNotFinite); ++i) {
    sums[kTileCols + static_cast<std::int64_t>(7 * i)] = std::bit_cast<float>(kNotFinite[i]);
  }
  return sums;
}

Block<std::int32_t> integer_sums() {
  const Block<std::int32_t> sums(kRows * kTileCols);
  sums.fill_random(2);
  for (std::int64_t i = kTileCols; i < sums.size(); ++i) sums[i] >>= i % 32;
  sums[0] = std::numeric_limits<std::int32_t>::min();
  sums[1] = std::numeric_limits<std::int32_t>::max();
  for (std::int64_t i = 2; i < 20; ++i) sums[i] = 0x00FFFFFF + static_cast<std::int32_t>(i);
  return sums;
}

// Steps with data of their own, each right before a guard page and at an address of its own.
class Steps {
 public:
  void add(Kind kind, std::int64_t stride, float value) {
    const bool row = kind == Kind::scale_row;
    const Block<float> data((kRows - 1) * stride + (row ? 1 : kTileCols));
    const kit::Random random(data_.size());
    for (std::int64_t i = 0; i < data.size(); ++i) {
      data[i] =
          value + 0.25F * static_cast<float>(random.gauss(static_cast<std::uint64_t>(i))) * value;
    }
    // A float off the vectors' alignment; the same distance from the guard page.
    const Block<float> shifted(data.size() + 1);
    std::memcpy(shifted.data(), data.data(), static_cast<std::size_t>(data.size()) * sizeof(float));
    const bool off = data_.size() % 2 == 0;
    list_.push_back({kind, off ? shifted.data() : data.data(), stride});
    data_.push_back(data);
    data_.push_back(shifted);
  }
  std::span<const FinishStep> list() const { return list_; }

 private:
  std::vector<FinishStep> list_;
  std::vector<Block<float>> data_;
};

// One tile by the definition of FinishStep.
std::vector<char> scalar_tile(const cpu::FinishTile& t, std::vector<char> out) {
  for (std::int64_t r = 0; r < t.rows; ++r) {
    for (std::int64_t j = 0; j < kTileCols; ++j) {
      char* row = out.data() + r * t.row_bytes;
      const std::int64_t i = r * kTileCols + j;
      if (t.dtype == DType::int32) {
        store_int32(row, j, t.integers[i]);
        continue;
      }
      float x = t.floats != nullptr ? t.floats[i] : static_cast<float>(t.integers[i]);
      for (const FinishStep& step : t.steps) {
        const float* data = step.data + r * step.stride;
        if (step.kind == Kind::scale_row) x *= *data;
        if (step.kind == Kind::scale_elements) x *= data[j];
        if (step.kind == Kind::add_elements) x += data[j];
      }
      store_float(t.dtype, row, j, x, t.overflow);
    }
  }
  return out;
}

// The bytes of a float32 row with one NaN for all of them.
void one_nan(char* row) {
  for (std::int64_t j = 0; j < kTileCols; ++j) {
    float x;
    std::memcpy(&x, row + j * 4, 4);
    if (x == x) continue;
    x = std::numeric_limits<float>::quiet_NaN();
    std::memcpy(row + j * 4, &x, 4);
  }
}

void expect_one(const Kernels& kernels, cpu::FinishTile tile, std::int64_t gap,
                const std::string& what) {
  tile.row_bytes = kTileCols * element_bytes(tile.dtype) + gap;
  const Block<char> out((tile.rows - 1) * tile.row_bytes + kTileCols * element_bytes(tile.dtype));
  std::memset(out.data(), 0xA5, static_cast<std::size_t>(out.size()));
  std::vector<char> want =
      scalar_tile(tile, std::vector<char>(out.data(), out.data() + out.size()));
  tile.out = out.data();
  kernels.finish(tile);
  if (tile.dtype == DType::float32 && !tile.steps.empty()) {
    for (std::int64_t r = 0; r < tile.rows; ++r) {
      one_nan(out.data() + r * tile.row_bytes);
      one_nan(want.data() + r * tile.row_bytes);
    }
  }
  ASSERT_EQ(std::memcmp(out.data(), want.data(), want.size()), 0)
      << kernels.on_floats << ", to " << name(tile.dtype) << ", " << what << ", " << tile.rows
      << " rows, gap " << gap << (tile.floats != nullptr ? ", floats" : ", integers")
      << (tile.streamed ? ", streamed" : "");
}

// Also streamed, where rows are whole lines.
void expect_scalar(const Kernels& kernels, cpu::FinishTile tile, std::int64_t gap,
                   const std::string& what) {
  ASSERT_NO_FATAL_FAILURE(expect_one(kernels, tile, gap, what));
  tile.streamed = true;
  if (gap % cpu::kStreamedLine == 0) expect_one(kernels, tile, gap, what);
}

// Both kinds of sums to every type that an output has.
void expect_scalar(const std::string& what, const Steps& steps) {
  static const Block<float> floats = float_sums();
  static const Block<std::int32_t> integers = integer_sums();
  for (const Kernels* kernels : cpu::usable_kernels()) {
    for (const DTypeInfo& type : kDTypes) {
      if (!is_floating(type.dtype) && !is_integer8(type.dtype)) continue;
      for (const bool from_floats : {false, true}) {
        for (const Overflow overflow : {Overflow::saturate, Overflow::ieee}) {
          for (const std::int64_t rows : {std::int64_t{1}, kRows}) {
            // The last rows: their sums end at a guard page.
            const std::int64_t first = (kRows - rows) * kTileCols;
            for (const std::int64_t gap : {0, 1, 64}) {
              expect_scalar(*kernels,
                            {.rows = rows,
                             .floats = from_floats ? floats.data() + first : nullptr,
                             .integers = from_floats ? nullptr : integers.data() + first,
                             .steps = steps.list(),
                             .dtype = type.dtype,
                             .overflow = overflow,
                             .out = nullptr,
                             .row_bytes = 0,
                             .streamed = false},
                            gap, what);
            }
          }
        }
      }
    }
  }
}

TEST(Finish, ConvertsSumsWithoutSteps) { expect_scalar("no steps", Steps()); }

TEST(Finish, TakesEveryStepAlone) {
  for (const Kind kind : {Kind::scale_row, Kind::scale_elements, Kind::add_elements}) {
    for (const std::int64_t stride : {0, 1, 64, 67}) {
      for (const float value : {1.0F, -0.03F, 1e37F, 1e-38F}) {
        Steps steps;
        steps.add(kind, stride, value);
        expect_scalar("kind " + std::to_string(static_cast<int>(kind)) + ", stride " +
                          std::to_string(stride) + ", value " + std::to_string(value),
                      steps);
      }
    }
  }
}

// scale_a, scale_b and perhaps a bias, which have a loop of their own, and what looks like them.
TEST(Finish, TakesTheUsualStepsAndTheirLookalikes) {
  for (const std::int64_t row_stride : {0, 1, 3}) {
    for (const std::int64_t column_stride : {0, 64}) {
      for (const std::int64_t bias_stride : {0, 64}) {
        for (const int bias : {0, 1, 2}) {
          Steps steps;
          steps.add(Kind::scale_row, row_stride, 0.01F);
          steps.add(Kind::scale_elements, column_stride, 3.0F);
          if (bias >= 1) steps.add(Kind::add_elements, bias_stride, -2.0F);
          if (bias == 2) steps.add(Kind::scale_elements, 0, 0.5F);
          expect_scalar("strides " + std::to_string(row_stride) + ", " +
                            std::to_string(column_stride) + ", " + std::to_string(bias_stride) +
                            ", bias " + std::to_string(bias),
                        steps);
        }
      }
    }
  }
}

TEST(Finish, KeepsTheOrderOfSteps) {
  using K = Kind;
  const std::vector<std::vector<Kind>> orders{
      {K::scale_elements, K::scale_row},
      {K::scale_row, K::add_elements},
      {K::scale_row, K::scale_row},
      {K::add_elements, K::scale_elements},
      {K::scale_row, K::add_elements, K::scale_elements},
      {K::scale_elements, K::scale_row, K::add_elements},
      {K::scale_row, K::scale_elements, K::scale_elements},
      {K::scale_row, K::scale_elements, K::scale_row},
      {K::add_elements, K::add_elements, K::scale_row, K::add_elements},
      {K::scale_row, K::scale_row, K::add_elements, K::scale_elements, K::scale_elements,
       K::add_elements, K::scale_row, K::add_elements, K::add_elements, K::scale_elements}};
  for (const std::vector<Kind>& order : orders) {
    for (const std::int64_t stride : {0, 64}) {
      Steps steps;
      std::string what = "steps";
      for (const Kind kind : order) {
        steps.add(kind, kind == Kind::scale_row ? stride / 64 : stride, 1.3F);
        what += ' ' + std::to_string(static_cast<int>(kind));
      }
      expect_scalar(what, steps);
    }
  }
}

TEST(Finish, StoresInt32SumsThemselves) {
  const Block<std::int32_t> integers = integer_sums();
  Steps steps;
  steps.add(Kind::scale_row, 0, 2.0F);
  for (const Kernels* kernels : cpu::usable_kernels()) {
    for (const std::int64_t gap : {0, 1, 4}) {
      for (const std::int64_t rows : {std::int64_t{1}, kRows}) {
        expect_scalar(*kernels,
                      {.rows = rows,
                       .floats = nullptr,
                       .integers = integers.data() + (kRows - rows) * kTileCols,
                       .steps = steps.list(),
                       .dtype = DType::int32,
                       .overflow = Overflow::saturate,
                       .out = nullptr,
                       .row_bytes = 0,
                       .streamed = false},
                      gap, "int32");
      }
    }
  }
}

}  // namespace
}  // namespace octavo::test::finish_test
