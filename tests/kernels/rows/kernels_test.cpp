// SPDX-License-Identifier: Apache-2.0
// Every kernel that this CPU can run, alone: the bits of a scalar loop, nothing read or
// written outside its tile.
#include "backends/cpu/row_kernels.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "core/data/element.hpp"
#include "core/scales/quantize_rules.hpp"
#include "kit/operands/element.hpp"
#include "kit/operands/random.hpp"
#include "support/guard.hpp"

namespace octavo::test::kernels_test {
namespace {

using cpu::Kernels;
using cpu::kPanelCols;

// Floats between guard pages.
class Floats {
 public:
  Floats(std::int64_t count, std::uint64_t seed)
      : memory_(guarded(GuardedSide::right)(static_cast<std::size_t>(count) * sizeof(float))) {
    const kit::Random random(seed);
    for (std::int64_t i = 0; i < count; ++i) {
      data()[i] = static_cast<float>(random.uniform(static_cast<std::uint64_t>(i)) - 0.5);
    }
  }
  float* data() const { return static_cast<float*>(memory_.get()); }

 private:
  std::shared_ptr<void> memory_;
};

TEST(Kernels, GiveTheBitsOfAScalarLoop) {
  for (const Kernels* kernel : cpu::usable_kernels()) {
    const std::int64_t rows = kernel->rows;
    for (const std::int64_t depth : {0, 1, 2, 7, 255, 256}) {
      for (const std::int64_t ldc : {kPanelCols, 4 * kPanelCols}) {
        const Floats a(depth * rows, 1);
        const Floats b(depth * kPanelCols, 2);
        const Floats got((rows - 1) * ldc + kPanelCols, 3);
        const Floats want((rows - 1) * ldc + kPanelCols, 3);
        for (std::int64_t r = 0; r < rows; ++r) {
          for (std::int64_t c = 0; c < kPanelCols; ++c) {
            float sum = want.data()[r * ldc + c];
            for (std::int64_t k = 0; k < depth; ++k) {
              const float product = a.data()[k * rows + r] * b.data()[k * kPanelCols + c];
              sum += product;
            }
            want.data()[r * ldc + c] = sum;
          }
        }
        kernel->tile(depth, a.data(), b.data(), got.data(), ldc);
        const auto bytes = static_cast<std::size_t>((rows - 1) * ldc + kPanelCols) * sizeof(float);
        EXPECT_EQ(std::memcmp(got.data(), want.data(), bytes), 0)
            << kernel->on_floats << ", depth " << depth << ", ldc " << ldc;
      }
    }
  }
}

TEST(Kernels, WidenEveryCodeOfEveryTypeAtAnyAlignment) {
  for (const Kernels* kernel : cpu::usable_kernels()) {
    for (const DTypeInfo& row : kDTypes) {
      if (!is_floating(row.dtype) && !is_integer8(row.dtype)) continue;
      const std::int64_t bytes = element_bytes(row.dtype);
      const std::int64_t count = bytes == 2 ? 65536 : 256;
      for (const std::int64_t shift : {0, 1}) {  // one byte off: no type is aligned
        const auto memory =
            guarded(GuardedSide::right)(static_cast<std::size_t>(count * bytes + shift));
        // A block that ends at a page and begins `shift` bytes later than it would.
        auto* source = static_cast<std::uint8_t*>(memory.get());
        for (std::int64_t i = 0; i < count * bytes; ++i) {
          source[i] = static_cast<std::uint8_t>(bytes == 2 && i % 2 == 1 ? i / 512 : i / bytes);
        }
        std::vector<float> out(static_cast<std::size_t>(count) + 1, 99.0F);
        kernel->widen(row.dtype, source, count, out.data());
        const TensorView view(source, row.dtype, {count});
        for (std::int64_t i = 0; i < count; ++i) {
          const auto want = static_cast<float>(kit::load(view, i));
          const float got = out[static_cast<std::size_t>(i)];
          const bool same = std::bit_cast<std::uint32_t>(got) == std::bit_cast<std::uint32_t>(want);
          EXPECT_TRUE(same || (got != got && want != want))
              << kernel->on_floats << ", " << row.name << ", element " << i;
        }
        EXPECT_EQ(out.back(), 99.0F);
      }
    }
  }
}

// Everything a conversion meets: special values, every midpoint of 8-bit types, both signs.
std::vector<float> rounding_cases() {
  std::vector<float> cases{0.0F,
                           -0.0F,
                           1e30F,
                           -1e30F,
                           0x1p-149F,
                           std::nanf(""),
                           std::numeric_limits<float>::infinity(),
                           -std::numeric_limits<float>::infinity()};
  for (const DType dtype : kFloat8Types) {
    const auto& values = code_values(dtype);
    for (std::size_t code = 0; code + 1 < values.size(); ++code) {
      cases.push_back((values[code] + values[code + 1]) / 2.0F);
      cases.push_back(std::nextafter(cases.back(), 0.0F));
    }
  }
  for (int half = -600; half <= 600; ++half) cases.push_back(static_cast<float>(half) / 2.0F);
  return cases;
}

TEST(Kernels, MultiplyAndAddRowsOfEveryLength) {
  for (const Kernels* kernel : cpu::usable_kernels()) {
    for (std::int64_t count = 0; count <= 70; ++count) {
      const Floats a(count, 1);
      const Floats b(count, 2);
      const Floats x(count, 3);
      const Floats y(count, 4);
      std::vector<double> sums(static_cast<std::size_t>(count) + 1, 0.25);
      std::vector<float> want_x(x.data(), x.data() + count);
      std::vector<float> want_y(y.data(), y.data() + count);
      std::vector<double> want_sums = sums;
      for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
        want_x[i] *= a.data()[i];
        want_y[i] *= a.data()[0];
        want_sums[i] += static_cast<double>(a.data()[i]) * static_cast<double>(b.data()[i]);
        want_sums[i] += static_cast<double>(b.data()[i]);
      }
      kernel->multiply(a.data(), 1, count, x.data());
      if (count > 0) kernel->multiply(a.data(), 0, count, y.data());
      kernel->add_products(a.data(), b.data(), count, sums.data());
      kernel->add_products(b.data(), nullptr, count, sums.data());
      EXPECT_TRUE(std::equal(want_x.begin(), want_x.end(), x.data())) << kernel->on_floats;
      EXPECT_TRUE(std::equal(want_y.begin(), want_y.end(), y.data())) << kernel->on_floats;
      EXPECT_EQ(sums, want_sums) << kernel->on_floats << ", " << count << " elements";
    }
  }
}

TEST(Kernels, NarrowLikeTheScalarCodecs) {
  std::vector<float> cases = rounding_cases();
  for (std::uint32_t upper = 0; upper < 65536; ++upper) {  // around every midpoint of bfloat16's
    for (const std::uint32_t lower : {0x0001U, 0x7FFFU, 0x8000U, 0x8001U}) {
      cases.push_back(std::bit_cast<float>(upper << 16 | lower));
    }
  }
  const auto count = static_cast<std::int64_t>(cases.size());
  for (const Kernels* kernels : cpu::usable_kernels()) {
    for (const DTypeInfo& row : kDTypes) {
      if (!is_floating(row.dtype) && !is_integer8(row.dtype)) continue;
      const auto bytes = static_cast<std::size_t>(count * element_bytes(row.dtype));
      for (const Overflow overflow : {Overflow::saturate, Overflow::ieee}) {
        const auto got = guarded(GuardedSide::right)(bytes);
        std::vector<std::uint8_t> want(bytes);
        kernels->narrow(row.dtype, cases.data(), count, got.get(), overflow);
        for (std::int64_t i = 0; i < count; ++i) {
          store_float(row.dtype, want.data(), i, cases[static_cast<std::size_t>(i)], overflow);
        }
        EXPECT_EQ(std::memcmp(got.get(), want.data(), bytes), 0)
            << kernels->on_floats << ", " << row.name;
      }
    }
  }
}

// The cases in a type that rows are quantised from, right before a guard page.
std::shared_ptr<void> row_of(DType from, const std::vector<float>& cases, std::size_t first) {
  const auto bytes = static_cast<std::size_t>(element_bytes(from));
  const auto row = guarded(GuardedSide::right)((cases.size() - first) * bytes);
  for (std::size_t i = first; i < cases.size(); ++i) {
    store_float(from, row.get(), static_cast<std::int64_t>(i - first), cases[i], Overflow::ieee);
  }
  return row;
}

constexpr DType kQuantizedFrom[] = {DType::float32, DType::bfloat16, DType::float16};

TEST(Kernels, FindTheLargestMagnitudeBelowALimit) {
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<float> x{1.0F, -7.5F, std::nanf(""), 6.0F, -inf, 0x1p-24F, 2.0F};
  for (const Kernels* kernels : cpu::usable_kernels()) {
    for (const DType from : kQuantizedFrom) {
      const auto absmax = [&](std::size_t first, std::int64_t count, cpu::Magnitudes left_out) {
        return kernels->absmax(from, row_of(from, x, first).get(), count, left_out);
      };
      const cpu::Magnitudes none = cpu::numbers_from(cpu::kNanBits);
      const cpu::Magnitudes from_six = cpu::numbers_from(std::bit_cast<std::uint32_t>(6.0F));
      EXPECT_EQ(absmax(0, 7, cpu::kNotFinite), 7.5F);
      EXPECT_EQ(absmax(3, 4, none), inf);
      EXPECT_EQ(absmax(3, 4, from_six), 2.0F);
      EXPECT_TRUE(std::isnan(absmax(0, 7, none)));
      EXPECT_TRUE(std::isnan(absmax(0, 7, from_six)));
      EXPECT_EQ(absmax(5, 1, cpu::kNotFinite), 0x1p-24F);  // a subnormal float16
      EXPECT_TRUE(std::isnan(absmax(2, 1, none)));
      EXPECT_EQ(absmax(2, 1, cpu::kNotFinite), 0.0F);
      EXPECT_EQ(absmax(0, 0, none), 0.0F);
    }
  }
}

TEST(Kernels, ReduceRowsOfEveryLengthAndFindEveryPlace) {
  for (const Kernels* kernels : cpu::usable_kernels()) {
    for (const DType from : kQuantizedFrom) {
      for (std::size_t count = 1; count <= 70; ++count) {
        for (std::size_t place = 0; place < count; ++place) {
          std::vector<float> x(count, 0.25F);
          x[place] = place % 2 == 0 ? -3.0F : 3.0F;
          x[(place + 1) % count] = count > 1 ? std::nanf("") : x[place];
          const auto row = row_of(from, x, 0);
          const auto n = static_cast<std::int64_t>(count);
          EXPECT_EQ(kernels->absmax(from, row.get(), n, cpu::kNotFinite), 3.0F);
          float least = std::numeric_limits<float>::infinity();
          float most = -least;
          std::int32_t magnitude = 0;
          kernels->ranges(from, row.get(), n, n, &least, &most, &magnitude);
          EXPECT_EQ(magnitude > 0x7F800000, count > 1);
          const bool negative = place % 2 == 0;
          EXPECT_EQ(least, negative ? -3.0F : count > 2 ? 0.25F : 3.0F);
          EXPECT_EQ(most, !negative ? 3.0F : count > 2 ? 0.25F : -3.0F);
        }
      }
    }
  }
}

// The codes of one row by the scalar codecs.
std::vector<std::uint8_t> scalar_codes(const cpu::RowCodes& row) {
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(row.count));
  for (std::int64_t i = 0; i < row.count; ++i) {
    const float x = load_float(row.from, row.source, i);
    const float factor = row.factors == nullptr ? row.factor : row.factors[i / row.run];
    const std::int32_t azp = row.factors == nullptr ? row.azp
                             : row.azps == nullptr  ? 0
                                                    : row.azps[i / row.run];
    float code = x / factor;
    if (is_float8(row.to) && std::isinf(x) && row.to != DType::float8_e5m2 &&
        row.shows_infinities) {
      code = std::copysign(std::numeric_limits<float>::quiet_NaN(), code);
    } else if (is_float8(row.to) && std::isinf(code) && !std::isinf(x)) {
      code = std::copysign(std::numeric_limits<float>::max(), code);  // a finite element saturates
    }
    if (row.vectorwise) {
      const bool outlier = (std::bit_cast<std::uint32_t>(x) & 0x7FFFFFFFU) >= row.limit;
      code = outlier ? 0.0F : std::clamp(x * row.factor, -127.0F, 127.0F);
    } else if (is_integer8(row.to)) {
      code = shifted_code(row.to, code, azp);
    }
    store_float(row.to, codes.data(), i, code, row.overflow);
  }
  return codes;
}

TEST(Kernels, QuantizeRowsLikeTheScalarRules) {
  const std::vector<float> all = rounding_cases();
  constexpr std::int32_t kFar = (1 << 21) - 1;
  constexpr auto kWidest = static_cast<std::int32_t>(cpu::kWideAzp - 1);
  for (const Kernels* kernels : cpu::usable_kernels()) {
    const auto expect_scalar = [&](cpu::RowCodes row) {
      const auto bytes = static_cast<std::size_t>(row.count);
      const auto got = guarded(GuardedSide::right)(bytes);
      row.codes = got.get();
      kernels->quantize(row);
      const std::vector<std::uint8_t> want = scalar_codes(row);
      ASSERT_TRUE(std::equal(want.begin(), want.end(), static_cast<std::uint8_t*>(got.get())))
          << kernels->on_floats << ", " << name(row.from) << " to " << name(row.to) << ", divisor "
          << row.factor << ", zero point " << row.azp << ", " << row.count << " elements";
    };
    for (const DType from : kQuantizedFrom) {
      const auto expect_codes = [&](cpu::RowCodes row) {
        for (const std::size_t count :
             {all.size(), all.size() % 64, std::size_t{1}, std::size_t{0}}) {
          const auto source = row_of(from, all, all.size() - count);
          row.from = from;
          row.source = source.get();
          row.count = static_cast<std::int64_t>(count);
          expect_scalar(row);
        }
      };
      for (const float factor : {1.0F, 0.3F, 0x1p-126F, 7e3F, 0.0F, std::nanf("")}) {
        for (const DTypeInfo& to : kDTypes) {
          if (!is_float8(to.dtype)) continue;
          for (const Overflow overflow : {Overflow::saturate, Overflow::ieee}) {
            for (const bool shows : {true, false}) {
              expect_codes({.factor = factor,
                            .to = to.dtype,
                            .overflow = overflow,
                            .shows_infinities = shows});
            }
          }
        }
        for (const DType to : {DType::int8, DType::uint8}) {
          for (const std::int32_t azp : {0, 1, -128, 255, 300, kFar, -kFar}) {
            expect_codes({.factor = factor, .to = to, .azp = azp});
            expect_codes({.factor = factor, .to = to, .azp = azp, .near = false});
          }
          for (const std::int32_t azp : {kFar + 1, -12345678, kWidest, -kWidest}) {
            expect_codes({.factor = factor, .to = to, .azp = azp, .near = false});
          }
        }
        for (const std::uint32_t limit : {std::bit_cast<std::uint32_t>(6.0F), cpu::kNanBits}) {
          expect_codes({.factor = factor, .vectorwise = true, .limit = limit});
        }
      }
    }
  }
}

// All that a row may ask for at once: a factor for every `run` elements, zero points, streamed
// codes, tame quotients.
TEST(Kernels, QuantizeRunsOfEveryLength) {
  constexpr std::int64_t kCount = 700;
  const kit::Random random(4);
  std::vector<float> x, factors;
  std::vector<std::int32_t> azps;
  for (std::uint64_t i = 0; i < kCount; ++i) {
    x.push_back(static_cast<float>(random.gauss(i)) * (i % 50 == 0 ? 400.0F : 20.0F));
    factors.push_back(0.01F + static_cast<float>(random.uniform(i)));
    azps.push_back(static_cast<std::int32_t>(random.bits(i) % 256) - 128);
  }
  const auto expect_scalar = [](const Kernels* kernels, cpu::RowCodes row, std::int64_t shift) {
    // From `shift` bytes after a line on, up to a guard page.
    const auto bytes = static_cast<std::size_t>((row.count + 63) / 64 * 64 + 64);
    const auto memory = guarded(GuardedSide::right)(bytes);
    auto* codes = static_cast<std::uint8_t*>(memory.get()) + bytes - row.count - shift;
    row.codes = codes;
    kernels->quantize(row);
    const std::vector<std::uint8_t> want = scalar_codes(row);
    ASSERT_TRUE(std::equal(want.begin(), want.end(), codes))
        << kernels->on_floats << ", " << name(row.from) << " to " << name(row.to) << ", runs of "
        << row.run << " in " << row.count << ", tame " << row.tame << ", shift " << shift;
  };
  for (const Kernels* kernels : cpu::usable_kernels()) {
    for (const DType from : kQuantizedFrom) {
      for (const std::int64_t count : {kCount, std::int64_t{640}, std::int64_t{77}}) {
        const auto source = row_of(from, x, static_cast<std::size_t>(kCount - count));
        for (const std::int64_t run : {1, 7, 16, 32, 48, 64, 128, 1000}) {
          for (const DType to :
               {DType::int8, DType::uint8, DType::float8_e4m3fn, DType::float8_e4m3fnuz,
                DType::float8_e5m2, DType::float8_e5m2fnuz}) {
            for (const bool tame : {false, true}) {
              cpu::RowCodes row{.from = from,
                                .source = source.get(),
                                .count = count,
                                .factors = factors.data(),
                                .azps = is_integer8(to) && run % 3 != 0 ? azps.data() : nullptr,
                                .run = run,
                                .to = to,
                                .tame = tame,
                                .streamed = count != 77,
                                .next = x.data()};
              for (const std::int64_t shift : {0, 1, 64}) expect_scalar(kernels, row, shift);
              row.factors = nullptr;
              row.factor = factors.front();
              row.azp = is_integer8(to) ? -77 : 0;
              expect_scalar(kernels, row, 1);
              if (HasFatalFailure()) return;
            }
          }
        }
      }
    }
  }
}

// Quotients on and right beside every tie, where a second rounding would show.
TEST(Kernels, QuantizeTiesOfTameRows) {
  for (const Kernels* kernels : cpu::usable_kernels()) {
    for (const DType from : kQuantizedFrom) {
      for (const float factor : {1.0F, 0.7F, 3.0F}) {
        std::vector<float> x;
        for (const float tie : rounding_cases()) {
          if (!(std::abs(tie) < 60000.0F)) continue;
          const float near = tie * factor;
          for (const float v : {near, std::nextafter(near, 1e30F), std::nextafter(near, -1e30F)}) {
            x.push_back(v);
          }
        }
        const auto source = row_of(from, x, 0);
        for (const DTypeInfo& to : kDTypes) {
          if (!is_float8(to.dtype) && to.dtype != DType::int8) continue;
          if (from == DType::float16 && factor > 1.0F) continue;  // beyond its range
          std::vector<std::uint8_t> got(x.size());
          const cpu::RowCodes row{.from = from,
                                  .source = source.get(),
                                  .count = static_cast<std::int64_t>(x.size()),
                                  .factor = factor,
                                  .codes = got.data(),
                                  .to = to.dtype,
                                  .tame = true};
          kernels->quantize(row);
          EXPECT_EQ(got, scalar_codes(row))
              << kernels->on_floats << ", " << name(from) << " to " << to.name << ", " << factor;
        }
      }
    }
  }
}

// Beside a row's codes, in lines from their second byte on and up to the end of the row.
TEST(Kernels, FindWhatTheNextRowReaches) {
  for (const Kernels* kernels : cpu::usable_kernels()) {
    for (const DType from : kQuantizedFrom) {
      for (const DType to : {DType::int8, DType::float8_e4m3fn}) {
        for (const std::int64_t count : {1, 15, 64, 77, 128, 600, 1024}) {
          for (std::int64_t place = 0; place < count; place += count / 9 + 1) {
            std::vector<float> x(static_cast<std::size_t>(count), 1.0F);
            std::vector<float> next = x;
            next[static_cast<std::size_t>(place)] = place % 2 == 0 ? -3.5F : std::nanf("");
            const auto row = row_of(from, x, 0);
            const auto behind = row_of(from, next, 0);
            std::vector<std::uint8_t> codes(static_cast<std::size_t>(count) + 1);
            float factor = 0.37F, inverse = 0.0F, rest = 0.0F;
            const bool inverts = kernels->invert(&factor, 1, 8, &inverse, &rest);
            std::int32_t most = 0, want = 0;
            kernels->quantize({.from = from,
                               .source = row.get(),
                               .count = count,
                               .factor = factor,
                               .codes = codes.data() + 1,
                               .to = to,
                               .tame = true,
                               .inverses = inverts ? &inverse : nullptr,
                               .inverse_rests = inverts ? &rest : nullptr,
                               .streamed = count != 77,
                               .next = behind.get(),
                               .next_most = &most});
            kernels->magnitudes(from, behind.get(), count, count, &want, nullptr);
            ASSERT_EQ(most, want) << kernels->on_floats << ", " << name(from) << ", " << place
                                  << " of " << count;
          }
        }
      }
    }
  }
}

TEST(Kernels, FindWhatCellsReach) {
  for (const Kernels* kernels : cpu::usable_kernels()) {
    for (const DType from : kQuantizedFrom) {
      for (const std::size_t count :
           {std::size_t{1}, std::size_t{70}, std::size_t{333}, std::size_t{1200}}) {
        std::vector<float> x;
        for (std::size_t i = 0; i < count; ++i) {
          x.push_back(static_cast<float>(static_cast<int>(i * 37 % 101) - 50));
        }
        if (count > 8) x[7] = std::nanf("");
        const auto row = row_of(from, x, 0);
        for (const std::size_t run : {1U, 2U, 16U, 31U, 32U, 33U, 64U, 128U, 500U}) {
          const std::size_t cells = (count + run - 1) / run;
          std::vector<std::int32_t> most(cells, std::bit_cast<std::int32_t>(7.0F));
          std::vector<std::int32_t> beside = most;
          std::vector<float> low(cells, -2.0F);
          std::vector<float> high(cells, 3.0F);
          std::vector<std::int32_t> want = most;
          std::vector<float> want_low = low;
          std::vector<float> want_high = high;
          for (std::size_t i = 0; i < count; ++i) {
            const std::size_t j = i / run;
            const float magnitude = std::abs(x[i]);
            if (std::isnan(x[i])) {
              want[j] = 0x7FFFFFFF;  // any NaN
              continue;
            }
            want[j] = std::max(want[j], std::bit_cast<std::int32_t>(magnitude));
            want_low[j] = std::min(want_low[j], x[i]);
            want_high[j] = std::max(want_high[j], x[i]);
          }
          const auto n = static_cast<std::int64_t>(count);
          kernels->magnitudes(from, row.get(), n, static_cast<std::int64_t>(run), most.data(),
                              count % 2 == 0 ? nullptr : row.get());
          kernels->ranges(from, row.get(), n, static_cast<std::int64_t>(run), low.data(),
                          high.data(), beside.data());
          for (std::vector<std::int32_t>* found : {&most, &beside}) {
            for (std::int32_t& bits : *found) {
              if (bits > 0x7F800000) bits = 0x7FFFFFFF;
            }
          }
          EXPECT_EQ(beside, want) << kernels->on_floats << ", " << name(from) << ", " << run;
          EXPECT_EQ(most, want) << kernels->on_floats << ", " << name(from) << ", runs of " << run;
          EXPECT_EQ(low, want_low) << kernels->on_floats << ", " << name(from) << ", " << run;
          EXPECT_EQ(high, want_high) << kernels->on_floats << ", " << name(from) << ", " << run;
        }
      }
    }
  }
}

}  // namespace
}  // namespace octavo::test::kernels_test
