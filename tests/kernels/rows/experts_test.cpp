// SPDX-License-Identifier: Apache-2.0
// silu_and_mul and weighted sums: the same bits from every kernel table, nothing touched beside the
// row.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "backends/cpu/row_kernels.hpp"
#include "kit/operands/random.hpp"
#include "support/guard.hpp"

namespace octavo::test::experts_test {
namespace {

using cpu::Kernels;

// A row of floats that ends where memory does.
class Row {
 public:
  explicit Row(const std::vector<float>& values)
      : count_(values.size()), memory_(guarded(GuardedSide::right)(count_ * sizeof(float))) {
    std::copy(values.begin(), values.end(), data());
  }
  float* data() const { return static_cast<float*>(memory_.get()); }
  std::vector<std::uint32_t> bits() const {
    std::vector<std::uint32_t> words(count_);
    for (std::size_t i = 0; i < count_; ++i) words[i] = std::bit_cast<std::uint32_t>(data()[i]);
    return words;
  }

 private:
  std::size_t count_;
  std::shared_ptr<void> memory_;
};

// Of all sizes, the special ones among them; no NaN, whose bits are free.
std::vector<float> numbers(std::size_t count, std::uint64_t seed) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kSpecial[] = {0.0F,       -0.0F,   kInfinity, -kInfinity, 0x1p-149F,
                                -0x1p-149F, -87.4F,  -88.8F,    -103.9F,    -104.1F,
                                -128.0F,    -127.9F, -0x1p127F, 0x1p127F,   128.0F};
  const kit::Random random(seed);
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) {
    const double spread = i % 3 == 0 ? 1.0 : i % 3 == 1 ? 20.0 : 1e-20;
    values[i] = static_cast<float>(random.gauss(i) * spread);
    if (i % 7 == 3) values[i] = kSpecial[(i / 7 + seed) % std::size(kSpecial)];
  }
  return values;
}

TEST(ExpertKernels, SiluAndMulHasTheBitsOfTheBaseline) {
  for (const Kernels* kernel : cpu::usable_kernels()) {
    for (const std::size_t count :
         std::initializer_list<std::size_t>{0, 1, 3, 4, 7, 15, 16, 17, 33, 500}) {
      const Row gate(numbers(count, 1));
      std::vector<float> ups(count);
      for (std::size_t i = 0; i < count; ++i) ups[i] = static_cast<float>(i % 5) + 0.5F;
      const Row up(ups);
      const Row want(std::vector<float>(count, 7.0F));
      const Row got(std::vector<float>(count, 7.0F));
      const auto length = static_cast<std::int64_t>(count);
      cpu::kBaselineKernels.silu_and_mul(gate.data(), up.data(), length, want.data(), 0);
      kernel->silu_and_mul(gate.data(), up.data(), length, got.data(), 64);
      EXPECT_EQ(got.bits(), want.bits()) << kernel->on_floats << ", " << count;
      kernel->silu_and_mul(gate.data(), up.data(), length, gate.data(), 1 << 20);
      EXPECT_EQ(gate.bits(), want.bits()) << "in place";
    }
  }
}

TEST(ExpertKernels, GradientsHaveTheBitsOfTheBaseline) {
  for (const Kernels* kernel : cpu::usable_kernels()) {
    for (const std::size_t count :
         std::initializer_list<std::size_t>{0, 1, 3, 4, 7, 15, 16, 17, 33, 500}) {
      const Row gate(numbers(count, 1));
      std::vector<float> finite(count);
      for (std::size_t i = 0; i < count; ++i) finite[i] = static_cast<float>(i % 5) + 0.5F;
      const Row up(finite);
      std::reverse(finite.begin(), finite.end());
      const Row grad(finite);
      const std::vector<float> poison(count, 7.0F);
      const Row wants[] = {Row(poison), Row(poison)};
      const Row gots[] = {Row(poison), Row(poison)};
      const auto length = static_cast<std::int64_t>(count);
      cpu::kBaselineKernels.silu_and_mul_vjp(grad.data(), gate.data(), up.data(), length,
                                             wants[0].data(), wants[1].data());
      kernel->silu_and_mul_vjp(grad.data(), gate.data(), up.data(), length, gots[0].data(),
                               gots[1].data());
      EXPECT_EQ(gots[0].bits(), wants[0].bits()) << kernel->on_floats << ", " << count;
      EXPECT_EQ(gots[1].bits(), wants[1].bits()) << kernel->on_floats << ", " << count;
    }
  }
}

TEST(ExpertKernels, SiluOfNotANumberIsNone) {
  for (const Kernels* kernel : cpu::usable_kernels()) {
    const Row gate(std::vector<float>(17, std::nanf("")));
    const Row up(std::vector<float>(17, 1.0F));
    kernel->silu_and_mul(gate.data(), up.data(), 17, up.data(), 0);
    for (int i = 0; i < 17; ++i) EXPECT_TRUE(std::isnan(up.data()[i]));
  }
}

TEST(ExpertKernels, AddScaledRoundsProductAndSum) {
  for (const Kernels* kernel : cpu::usable_kernels()) {
    for (const std::size_t count : std::initializer_list<std::size_t>{0, 1, 7, 16, 33, 500}) {
      const std::vector<float> x = numbers(count, 2);
      const std::vector<float> start = numbers(count, 3);
      std::vector<float> sums = start;
      for (std::size_t i = 0; i < count; ++i) {
        const float product = x[i] * 0.3F;
        sums[i] += product;
        if (std::isnan(sums[i])) sums[i] = 0.0F;
      }
      const Row got(start);
      kernel->add_scaled(Row(x).data(), 0.3F, static_cast<std::int64_t>(count), got.data(),
                         got.data());
      for (std::size_t i = 0; i < count; ++i) {
        if (std::isnan(got.data()[i])) got.data()[i] = 0.0F;
      }
      EXPECT_EQ(got.bits(), Row(sums).bits()) << kernel->on_floats << ", " << count;
    }
  }
}

}  // namespace
}  // namespace octavo::test::experts_test
