// SPDX-License-Identifier: Apache-2.0
// Every kernel that this CPU can run, alone: the bits of a scalar loop, nothing read or
// written outside its tile.
#include "backends/cpu/kernels.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "core/element.hpp"
#include "core/quantize_rules.hpp"
#include "kit/element.hpp"
#include "kit/random.hpp"
#include "support/guard.hpp"

namespace octavo::test {
namespace {

using cpu::Kernels;
using cpu::kPanelCols;

// Floats between guard pages.
class Floats {
 public:
  Floats(std::int64_t count, std::uint64_t seed)
      : memory_(guarded(Side::right)(static_cast<std::size_t>(count) * sizeof(float))) {
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
        const auto memory = guarded(Side::right)(static_cast<std::size_t>(count * bytes + shift));
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
  for (const auto* values : {&kE4M3FNValues, &kE4M3FNUZValues, &kE5M2Values, &kE5M2FNUZValues}) {
    for (std::size_t code = 0; code + 1 < values->size(); ++code) {
      cases.push_back(((*values)[code] + (*values)[code + 1]) / 2.0F);
      cases.push_back(std::nextafter(cases.back(), 0.0F));
    }
  }
  for (int half = -600; half <= 600; ++half) cases.push_back(static_cast<float>(half) / 2.0F);
  return cases;
}

TEST(Kernels, NarrowLikeTheScalarCodecs) {
  const std::vector<float> cases = rounding_cases();
  const auto count = static_cast<std::int64_t>(cases.size());
  for (const Kernels* kernels : cpu::usable_kernels()) {
    for (const DTypeInfo& row : kDTypes) {
      if (!is_floating(row.dtype) && !is_integer8(row.dtype)) continue;
      const auto bytes = static_cast<std::size_t>(count * element_bytes(row.dtype));
      for (const Overflow overflow : {Overflow::saturate, Overflow::ieee}) {
        const auto got = guarded(Side::right)(bytes);
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
  const auto row = guarded(Side::right)((cases.size() - first) * bytes);
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
      const auto absmax = [&](std::size_t first, std::int64_t count, std::uint32_t limit) {
        return kernels->absmax(from, row_of(from, x, first).get(), count, limit);
      };
      EXPECT_EQ(absmax(0, 7, cpu::kFiniteOnly), 7.5F);
      EXPECT_EQ(absmax(0, 7, cpu::kAllButNaN), inf);
      EXPECT_EQ(absmax(0, 7, std::bit_cast<std::uint32_t>(6.0F)), 2.0F);
      EXPECT_EQ(absmax(5, 1, cpu::kFiniteOnly), 0x1p-24F);  // a subnormal float16
      EXPECT_EQ(absmax(2, 1, cpu::kAllButNaN), 0.0F);
      EXPECT_EQ(absmax(0, 0, cpu::kAllButNaN), 0.0F);
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
          EXPECT_EQ(kernels->absmax(from, row.get(), n, cpu::kFiniteOnly), 3.0F);
          float least = 9.0F;
          float most = 9.0F;
          kernels->range(from, row.get(), n, least, most);
          EXPECT_EQ(least, place % 2 == 0 ? -3.0F : 0.0F);
          EXPECT_EQ(most, place % 2 != 0 ? 3.0F : count > 2 ? 0.25F : 0.0F);
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
    float code = x / row.factor;
    if (row.vectorwise) {
      const bool outlier = (std::bit_cast<std::uint32_t>(x) & 0x7FFFFFFFU) >= row.limit;
      code = outlier ? 0.0F : std::clamp(x * row.factor, -127.0F, 127.0F);
    } else if (is_integer8(row.to)) {
      code = shifted_code(row.to, code, row.azp);
    }
    store_float(row.to, codes.data(), i, code, row.overflow);
  }
  return codes;
}

TEST(Kernels, QuantizeRowsLikeTheScalarRules) {
  const std::vector<float> all = rounding_cases();
  constexpr std::int32_t kFar = (1 << 21) - 1;
  for (const Kernels* kernels : cpu::usable_kernels()) {
    const auto expect_scalar = [&](cpu::RowCodes row) {
      const auto bytes = static_cast<std::size_t>(row.count);
      const auto got = guarded(Side::right)(bytes);
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
            expect_codes({.factor = factor, .to = to.dtype, .overflow = overflow});
          }
        }
        for (const DType to : {DType::int8, DType::uint8}) {
          for (const std::int32_t azp : {0, 1, -128, 255, 300, kFar, -kFar}) {
            expect_codes({.factor = factor, .to = to, .azp = azp});
          }
        }
        for (const std::uint32_t limit : {std::bit_cast<std::uint32_t>(6.0F), cpu::kAllButNaN}) {
          expect_codes({.factor = factor, .vectorwise = true, .limit = limit});
        }
      }
    }
  }
}

}  // namespace
}  // namespace octavo::test
