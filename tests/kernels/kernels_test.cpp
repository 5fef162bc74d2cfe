// SPDX-License-Identifier: Apache-2.0
// Every kernel that this CPU can run, alone: the bits of a scalar loop, nothing read or
// written outside its tile.
#include "backends/cpu/kernels.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "core/element.hpp"
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

TEST(Kernels, FindTheLargestMagnitudeBelowALimit) {
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<float> x{1.0F, -7.5F, std::nanf(""), 6.0F, -inf, 0x1p-149F, 2.0F};
  const auto count = static_cast<std::int64_t>(x.size());
  for (const Kernels* kernels : cpu::usable_kernels()) {
    EXPECT_EQ(kernels->absmax(x.data(), count, cpu::kFiniteOnly), 7.5F);
    EXPECT_EQ(kernels->absmax(x.data(), count, cpu::kAllButNaN), inf);
    EXPECT_EQ(kernels->absmax(x.data(), count, std::bit_cast<std::uint32_t>(6.0F)), 2.0F);
    EXPECT_EQ(kernels->absmax(x.data() + 2, 1, cpu::kAllButNaN), 0.0F);
    EXPECT_EQ(kernels->absmax(x.data(), 0, cpu::kAllButNaN), 0.0F);
  }
}

TEST(Kernels, DivideWithOneRounding) {
  std::vector<float> x(1000);
  const kit::Random random(5);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(random.gauss(i));
  for (const Kernels* kernels : cpu::usable_kernels()) {
    std::vector<float> got = x;
    kernels->divide(got.data(), 1000, 0.3F);
    for (std::size_t i = 0; i < x.size(); ++i) {
      // A quotient of two float32 numbers is never a tie in float64: rounding twice is harmless.
      EXPECT_EQ(got[i], static_cast<float>(double{x[i]} / double{0.3F}));
    }
  }
}

}  // namespace
}  // namespace octavo::test
