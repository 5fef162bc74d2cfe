// SPDX-License-Identifier: Apache-2.0
// Kernels that scale and code cells in one go, against the scalar rules: every element type, code
// type and rounding of scales, cells of many lengths in rows at any distance, cells that are left.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "backends/cpu/kernels.hpp"
#include "core/element.hpp"
#include "core/quantize_rules.hpp"
#include "kit/random.hpp"
#include "support/guard.hpp"

namespace octavo::test {
namespace {

constexpr std::int64_t kRows = 3;
constexpr std::int64_t kGap = 5;  // elements and codes between rows

// Rows of elements, up to a guard page.
struct Source {
  Source(DType from, std::int64_t count, const std::vector<float>& x)
      : dtype(from), step(count + kGap), cells(x) {
    const std::int64_t all = (kRows - 1) * step + count;
    memory = guarded(Side::right)(static_cast<std::size_t>(all * element_bytes(from)));
    for (std::int64_t i = 0; i < all; ++i) {
      store_float(from, memory.get(), i, x[static_cast<std::size_t>(i)], Overflow::saturate);
    }
  }
  float at(std::int64_t row, std::int64_t i) const {
    return load_float(dtype, memory.get(), row * step + i);
  }
  DType dtype;
  std::int64_t step;
  const std::vector<float>& cells;
  std::shared_ptr<void> memory;
};

struct Case {
  const cpu::Kernels* kernels;
  DType to;
  QuantizeSpec spec;
  std::int64_t count, run, shift;
  bool exponents;
};

// Scales and codes of every cell that the kernel does; `all`: it leaves none.
void expect_scalar(const Case& c, const Source& x, bool all) {
  const std::int64_t across = (c.count + c.run - 1) / c.run;
  const DType scale_type = c.exponents ? DType::float8_e8m0fnu : DType::float32;
  const std::int64_t scale_bytes = element_bytes(scale_type);
  const std::int64_t code_step = (c.count + kGap + 63) / 64 * 64;
  const auto codes =
      guarded(Side::right)(static_cast<std::size_t>((kRows - 1) * code_step + c.count + c.shift));
  const auto scales = guarded(Side::right)(static_cast<std::size_t>(kRows * across * scale_bytes));
  auto* code_bytes = static_cast<std::uint8_t*>(codes.get());
  std::vector<bool> left(static_cast<std::size_t>(kRows * across));
  cpu::CellRows rows{.row = {.from = x.dtype,
                             .source_step = x.step * element_bytes(x.dtype),
                             .code_step = code_step,
                             .run = c.run,
                             .to = c.to,
                             .overflow = c.spec.overflow,
                             .streamed = c.shift == 0},
                     .rule = scale_rule(c.spec),
                     .scale_step = across * scale_bytes,
                     .exponents = c.exponents};
  for (std::int64_t done = 0; done < kRows * across;) {
    const std::int64_t r = done / across, j = done % across;
    const std::int64_t begin = r * x.step + j * c.run;
    rows.row.source = static_cast<const char*>(x.memory.get()) + begin * element_bytes(x.dtype);
    rows.row.codes = code_bytes + r * code_step + j * c.run;
    rows.row.count = c.count - j * c.run;
    rows.row.rows = j == 0 ? kRows - r : 1;
    rows.scales = static_cast<char*>(scales.get()) + done * scale_bytes;
    const std::int64_t asked = rows.row.rows * (across - j);
    const std::int64_t some = c.kernels->quantize_cells(rows);
    ASSERT_TRUE(some >= 0 && some <= asked && (!all || some == asked)) << some << " of " << asked;
    done += some;
    if (some < asked) left[static_cast<std::size_t>(done++)] = true;
  }
  for (std::int64_t cell = 0; cell < kRows * across; ++cell) {
    const std::int64_t r = cell / across, begin = cell % across * c.run;
    const std::int64_t end = std::min(c.count, begin + c.run);
    float most = 0.0F;
    bool finite = true;
    for (std::int64_t i = begin; i < end; ++i) {
      finite = finite && std::isfinite(x.at(r, i));
      most = std::max(most, std::abs(x.at(r, i)));
    }
    if (left[static_cast<std::size_t>(cell)]) continue;
    ASSERT_TRUE(finite) << "a kernel does not know what a cell with a NaN gets";
    float scale = 0.0F;
    symmetric_scales(c.spec, &most, 1, &scale);
    ASSERT_EQ(load_float(scale_type, scales.get(), cell), scale) << "cell " << cell;
    for (std::int64_t i = begin; i < end; ++i) {
      std::uint8_t want = 0;
      store_float(c.to, &want, 0, x.at(r, i) / scale, c.spec.overflow);
      ASSERT_EQ(code_bytes[r * code_step + i], want)
          << "row " << r << ", element " << i << " is " << x.at(r, i) << ", scale " << scale;
    }
  }
}

// Every combination, of elements by a function of their place.
template <class Make>
void expect_all(const Make& make, bool all) {
  for (const std::int64_t count : {std::int64_t{2048}, std::int64_t{1111}}) {
    std::vector<float> x;
    for (std::int64_t i = 0; i < kRows * (count + kGap); ++i) x.push_back(make(i));
    for (const DType from : {DType::float32, DType::bfloat16, DType::float16}) {
      const Source source(from, count, x);
      for (const cpu::Kernels* kernels : cpu::usable_kernels()) {
        for (const DType to :
             {DType::int8, DType::float8_e4m3fn, DType::float8_e4m3fnuz, DType::float8_e5m2}) {
          for (const ScaleRounding rounding :
               {ScaleRounding::none, ScaleRounding::power_of_two, ScaleRounding::mx_floor}) {
            if (rounding == ScaleRounding::mx_floor && to == DType::int8) continue;
            for (const std::int64_t run : {16, 32, 64, 100, 128, 600, 4096}) {
              const bool powers = rounding != ScaleRounding::none;
              const Case one{
                  .kernels = kernels,
                  .to = to,
                  .spec = {.dtype = to,
                           .rounding = rounding,
                           .overflow = run == 64 && to != DType::int8 ? Overflow::ieee
                                                                      : Overflow::saturate},
                  .count = count,
                  .run = std::min(run, count),
                  .shift = run == 100 ? 3 : 0,
                  .exponents = powers && run % 3 != 0};
              SCOPED_TRACE(std::string(kernels->on_floats) + ", " + std::string(name(from)) +
                           " to " + std::string(name(to)) + ", rounding " +
                           std::to_string(static_cast<int>(rounding)) + ", runs of " +
                           std::to_string(run) + " in " + std::to_string(count));
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

}  // namespace
}  // namespace octavo::test
