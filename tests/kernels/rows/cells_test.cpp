// SPDX-License-Identifier: Apache-2.0
// Kernels that scale and code cells in one go, against the scalar rules: every element type, code
// type and rounding of scales, cells of many lengths in rows at any distance, columns, zero points,
// cells that are left.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "backends/cpu/row_kernels.hpp"
#include "core/data/element.hpp"
#include "core/scales/quantize_rules.hpp"
#include "kit/operands/random.hpp"
#include "support/guard.hpp"

namespace octavo::test::cells_test {
namespace {

constexpr std::int64_t kGap = 5;  // elements and codes between rows

// Rows of elements, up to a guard page.
struct Source {
  Source(DType from, std::int64_t height, std::int64_t count, const std::vector<float>& x,
         std::int64_t gap = kGap)
      : dtype(from), rows(height), step(count + gap), cells(x) {
    const std::int64_t all = (rows - 1) * step + count;
    memory = guarded(GuardedSide::right)(static_cast<std::size_t>(all * element_bytes(from)));
    for (std::int64_t i = 0; i < all; ++i) {
      store_float(from, memory.get(), i, x[static_cast<std::size_t>(i)], Overflow::saturate);
    }
  }
  float at(std::int64_t row, std::int64_t i) const {
    return load_float(dtype, memory.get(), row * step + i);
  }
  DType dtype;
  std::int64_t rows, step;
  const std::vector<float>& cells;
  std::shared_ptr<void> memory;
};

struct Case {
  const cpu::Kernels* kernels;
  DType to;
  QuantizeSpec spec;
  std::int64_t count, run, height, shift;
  bool exponents;
};

// Scales and codes of every cell that the kernel does; `all`: it leaves none.
void expect_scalar(const Case& c, const Source& x, bool all) {
  const std::int64_t across = (c.count + c.run - 1) / c.run;
  const std::int64_t down = (x.rows + c.height - 1) / c.height;
  const DType scale_type = c.exponents ? DType::float8_e8m0fnu : DType::float32;
  const std::int64_t scale_bytes = element_bytes(scale_type);
  // Codes of rows of cells lie without gaps where their lengths allow, whether elements do or not.
  const std::int64_t code_step = (c.count + 63) / 64 * 64 + (c.height > 1 ? 64 : 0);
  const auto codes = guarded(GuardedSide::right)(
      static_cast<std::size_t>((x.rows - 1) * code_step + c.count + c.shift));
  const auto scales =
      guarded(GuardedSide::right)(static_cast<std::size_t>(down * across * scale_bytes));
  auto* code_bytes = static_cast<std::uint8_t*>(codes.get());
  std::vector<bool> left(static_cast<std::size_t>(down * across));
  cpu::CellRows rows{.row = {.from = x.dtype,
                             .source_step = x.step * element_bytes(x.dtype),
                             .code_step = code_step,
                             .run = c.run,
                             .to = c.to,
                             .overflow = c.spec.overflow},
                     .height = c.height,
                     .rule = scale_rule(c.spec),
                     .scale_step = across * scale_bytes,
                     .exponents = c.exponents};
  for (std::int64_t done = 0; done < down * across;) {
    const std::int64_t i = done / across, j = done % across, r = i * c.height;
    const std::int64_t begin = r * x.step + j * c.run;
    rows.row.source = static_cast<const char*>(x.memory.get()) + begin * element_bytes(x.dtype);
    rows.row.codes = code_bytes + r * code_step + j * c.run;
    rows.row.count = c.count - j * c.run;
    rows.row.rows = j == 0 ? x.rows - r : std::min(c.height, x.rows - r);
    rows.row.streamed = c.shift == 0 && (c.run > 1 || j % 64 == 0);
    rows.scales = static_cast<char*>(scales.get()) + done * scale_bytes;
    const std::int64_t asked = (j == 0 ? down - i : 1) * (across - j);
    const std::int64_t some = c.kernels->quantize_cells(rows);
    ASSERT_TRUE(some >= 0 && some <= asked && (!all || some == asked)) << some << " of " << asked;
    done += some;
    if (some < asked) left[static_cast<std::size_t>(done++)] = true;
  }
  for (std::int64_t cell = 0; cell < down * across; ++cell) {
    if (left[static_cast<std::size_t>(cell)]) continue;
    const std::int64_t top = cell / across * c.height, begin = cell % across * c.run;
    const std::int64_t bottom = std::min(x.rows, top + c.height);
    const std::int64_t end = std::min(c.count, begin + c.run);
    float most = 0.0F;
    for (std::int64_t r = top; r < bottom; ++r) {
      for (std::int64_t i = begin; i < end; ++i) {
        ASSERT_TRUE(std::isfinite(x.at(r, i))) << "what such a cell gets is not the kernel's";
        most = std::max(most, std::abs(x.at(r, i)));
      }
    }
    float scale = 0.0F;
    symmetric_scales(c.spec, &most, 1, &scale);
    ASSERT_EQ(load_float(scale_type, scales.get(), cell), scale) << "cell " << cell;
    for (std::int64_t r = top; r < bottom; ++r) {
      for (std::int64_t i = begin; i < end; ++i) {
        std::uint8_t want = 0;
        store_float(c.to, &want, 0, x.at(r, i) / scale, c.spec.overflow);
        ASSERT_EQ(code_bytes[r * code_step + i], want)
            << "row " << r << ", element " << i << " is " << x.at(r, i) << ", scale " << scale;
      }
    }
  }
}

struct Shape {
  std::int64_t rows, count, height;
  std::vector<std::int64_t> runs;
  std::int64_t gap = kGap;
};

// Every combination, of elements by a function of their place.
template <class Make>
void expect_all(const Make& make, bool all) {
  const std::vector<std::int64_t> runs{16, 32, 64, 100, 128, 256, 600, 4096};
  const Shape shapes[] = {{3, 2048, 1, runs},
                          {3, 1111, 1, runs},
                          {9, 384, 1, runs, 0},
                          {5, 336, 1, {16, 48, 112}, 0},
                          {3, 4096, 2, {64, 192}},
                          {40, 192, 40, {1}},
                          {19, 1088, 17, {64, 128, 448}},
                          {19, 448, 17, {64}, 0},
                          {150, 128, 150, {1}}};
  for (const Shape& shape : shapes) {
    std::vector<float> x;
    for (std::int64_t i = 0; i < shape.rows * (shape.count + shape.gap); ++i) x.push_back(make(i));
    for (const DType from : {DType::float32, DType::bfloat16, DType::float16}) {
      const Source source(from, shape.rows, shape.count, x, shape.gap);
      for (const cpu::Kernels* kernels : cpu::usable_kernels()) {
        for (const DType to :
             {DType::int8, DType::float8_e4m3fn, DType::float8_e4m3fnuz, DType::float8_e5m2}) {
          for (const ScaleRounding rounding :
               {ScaleRounding::none, ScaleRounding::power_of_two, ScaleRounding::mx_floor}) {
            if (rounding == ScaleRounding::mx_floor && to == DType::int8) continue;
            for (const std::int64_t run : shape.runs) {
              const bool powers = rounding != ScaleRounding::none;
              const Case one{
                  .kernels = kernels,
                  .to = to,
                  .spec = {.dtype = to,
                           .rounding = rounding,
                           .overflow = run == 64 && to != DType::int8 ? Overflow::ieee
                                                                      : Overflow::saturate},
                  .count = shape.count,
                  .run = std::min(run, shape.count),
                  .height = shape.height,
                  .shift = run == 100 ? 3 : 0,
                  .exponents = powers && run % 3 != 0};
              SCOPED_TRACE(std::string(kernels->on_floats) + ", " + std::string(name(from)) +
                           " to " + std::string(name(to)) + ", rounding " +
                           std::to_string(static_cast<int>(rounding)) + ", cells of " +
                           std::to_string(shape.height) + " x " + std::to_string(run) + " in " +
                           std::to_string(shape.rows) + " x " + std::to_string(shape.count));
              expect_scalar(one, source, all);
              if (testing::Test::HasFatalFailure()) return;
            }
          }
        }
      }
    }
  }
}

TEST(Cells, GetTheScalesAndCodesOfTheScalarRules) {
  const kit::Random random(11);
  // Some far below the others, and cells of zeros.
  expect_all(
      [&](std::int64_t i) {
        if (i / 128 % 7 == 3) return i % 2 == 0 ? 0.0F : -0.0F;
        const auto value = static_cast<float>(random.gauss(static_cast<std::uint64_t>(i)));
        return i % 23 == 0 ? std::ldexp(value, -static_cast<int>(i / 23 % 20)) : value;
      },
      true);
}

TEST(Cells, OfInfinitiesAndNanAreLeft) {
  const kit::Random random(12);
  expect_all(
      [&](std::int64_t i) {
        if (i % 997 == 500) return std::numeric_limits<float>::quiet_NaN();
        if (i % 1499 == 700) return -std::numeric_limits<float>::infinity();
        return static_cast<float>(random.gauss(static_cast<std::uint64_t>(i)));
      },
      false);
}

// Every exponent: scales at the ends of the range are right or left.
TEST(Cells, OfAnySize) {
  const kit::Random random(13);
  expect_all(
      [&](std::int64_t i) {
        const auto value = static_cast<float>(random.gauss(static_cast<std::uint64_t>(i)));
        return std::ldexp(value, static_cast<int>(i / 32 * 5 % 270) - 140);
      },
      false);
}

// Elements of every mantissa under scales of every mantissa that a bfloat16 gives: quotients next
// to every tie, and on it.
TEST(Cells, OfEveryMantissa) {
  constexpr std::int64_t kMantissas = 128;
  for (const std::int64_t run : {std::int64_t{1}, kMantissas, 2 * kMantissas}) {
    // A cell is a run, or a column.
    const bool columns = run == 1;
    const std::int64_t length = columns ? 2 * kMantissas : run;
    const std::int64_t rows = columns ? length : kMantissas / 16;
    const std::int64_t count = columns ? kMantissas : 16 * run;
    std::vector<float> x;
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t c = 0; c < count + kGap; ++c) {
        const std::int64_t cell = columns ? c % kMantissas : (r * 16 + c / run) % kMantissas;
        const std::int64_t i = columns ? r : c % run;
        const auto most = static_cast<float>(kMantissas + cell);
        const auto value = static_cast<float>(kMantissas + i % kMantissas);
        const int binade = -1 - static_cast<int>(i / kMantissas) - static_cast<int>(cell % 3);
        x.push_back(i == 0 ? most : std::ldexp(i % 2 == 0 ? value : -value, binade));
      }
    }
    const Source source(DType::bfloat16, rows, count, x);
    for (const cpu::Kernels* kernels : cpu::usable_kernels()) {
      for (const DType to : {DType::int8, DType::float8_e4m3fn, DType::float8_e5m2}) {
        SCOPED_TRACE(std::string(kernels->on_floats) + " to " + std::string(name(to)) +
                     ", cells of " + std::to_string(run));
        expect_scalar({.kernels = kernels,
                       .to = to,
                       .spec = {.dtype = to},
                       .count = count,
                       .run = run,
                       .height = columns ? rows : 1,
                       .shift = 0,
                       .exponents = false},
                      source, true);
        if (testing::Test::HasFatalFailure()) return;
      }
    }
  }
}

// Scales, zero points and codes of rows; says how many rows are left.
std::int64_t expect_shifted(const cpu::Kernels& kernels, DType to, const Source& x,
                            std::int64_t count) {
  const QuantizeSpec spec{.dtype = to, .azp = true};
  const ScaleRule rule = scale_rule(spec);
  const std::int64_t step = (count + 63) / 64 * 64;
  const auto codes =
      guarded(GuardedSide::right)(static_cast<std::size_t>((x.rows - 1) * step + count));
  std::vector<float> scales(static_cast<std::size_t>(x.rows));
  std::vector<std::int32_t> azps(static_cast<std::size_t>(2 * x.rows));
  auto* code_bytes = static_cast<std::uint8_t*>(codes.get());
  cpu::CellRows rows{.row = {.from = x.dtype,
                             .count = count,
                             .source_step = x.step * element_bytes(x.dtype),
                             .code_step = step,
                             .run = count,
                             .to = to,
                             .streamed = count % 2 == 0},
                     .rule = rule,
                     .scale_step = sizeof(float),
                     .azp_step = 2};
  std::int64_t left = 0;
  for (std::int64_t r = 0; r < x.rows;) {
    rows.row.source =
        static_cast<const char*>(x.memory.get()) + r * x.step * element_bytes(x.dtype);
    rows.row.codes = code_bytes + r * step;
    rows.row.rows = x.rows - r;
    rows.scales = scales.data() + r;
    rows.azps = azps.data() + 2 * r;
    const std::int64_t some = kernels.quantize_cells(rows);
    EXPECT_TRUE(some >= 0 && some <= x.rows - r);
    for (const std::int64_t end = r + some; r < end; ++r) {
      CellRange range;
      for (std::int64_t i = 0; i < count; ++i) {
        EXPECT_TRUE(std::isfinite(x.at(r, i))) << "what such a row gets is not the kernel's";
        range.min = std::min(range.min, x.at(r, i));
        range.max = std::max(range.max, x.at(r, i));
      }
      const CellScale want = cell_scale(rule, range);
      const auto at = static_cast<std::size_t>(r);
      EXPECT_EQ(scales[at], want.scale) << "row " << r;
      EXPECT_EQ(azps[2 * at], want.azp) << "row " << r;
      for (std::int64_t i = 0; i < count; ++i) {
        std::uint8_t code = 0;
        store_float(to, &code, 0, shifted_code(to, x.at(r, i) / want.scale, want.azp),
                    Overflow::saturate);
        EXPECT_EQ(code_bytes[r * step + i], code)
            << "row " << r << ", element " << i << " is " << x.at(r, i) << ", scale " << want.scale
            << ", zero point " << want.azp;
        if (testing::Test::HasFailure()) return left;
      }
    }
    if (r < x.rows) ++r, ++left;
  }
  return left;
}

// A row of both signs, of one, of zeros, of one number; rows far from 0 and around it.
float shifted_element(const kit::Random& random, std::int64_t row, std::int64_t i) {
  const auto value = static_cast<float>(random.gauss(static_cast<std::uint64_t>(row * 7919 + i)));
  constexpr float kOffsets[] = {0.0F, 100.0F, -100.0F, 0.5F};
  switch (row % 9) {
    case 0:
      return std::abs(value);
    case 1:
      return -std::abs(value);
    case 2:
      return i % 2 == 0 ? 0.0F : -0.0F;
    case 3:
      return -3.5F;
    case 4:
      return i % 3 == 0 ? std::max(value, 0.0F) : 0.0F;
    default:
      return value + kOffsets[row % 4];
  }
}

TEST(Cells, OfZeroPointsGetThoseOfTheScalarRules) {
  const kit::Random random(14);
  for (const std::int64_t count : {1, 40, 64, 129, 1000}) {
    constexpr std::int64_t kRows = 23, kNan = 7, kInfinity = 11;
    std::vector<float> x;
    for (std::int64_t r = 0; r < kRows; ++r) {
      for (std::int64_t i = 0; i < count + kGap; ++i) x.push_back(shifted_element(random, r, i));
    }
    std::vector<float> with = x;
    with[static_cast<std::size_t>(kNan * (count + kGap) + count / 2)] =
        std::numeric_limits<float>::quiet_NaN();
    with[static_cast<std::size_t>(kInfinity * (count + kGap) + count - 1)] =
        -std::numeric_limits<float>::infinity();
    for (const DType from : {DType::float32, DType::bfloat16, DType::float16}) {
      const Source unpacked(from, kRows, count, x);
      const Source shown(from, kRows, count, with);
      for (const cpu::Kernels* kernels : cpu::usable_kernels()) {
        for (const DType to : {DType::int8, DType::uint8}) {
          SCOPED_TRACE(std::string(kernels->on_floats) + ", " + std::string(name(from)) + " to " +
                       std::string(name(to)) + ", rows of " + std::to_string(count));
          EXPECT_EQ(expect_shifted(*kernels, to, unpacked, count), 0);
          EXPECT_EQ(expect_shifted(*kernels, to, shown, count), 2);
          if (testing::Test::HasFailure()) return;
        }
      }
    }
  }
}

}  // namespace
}  // namespace octavo::test::cells_test
