// SPDX-License-Identifier: Apache-2.0
// Factors by their inverses: codes of elements at every tie are those of divisions.
#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

#include "backends/cpu/row_kernels.hpp"
#include "core/data/convert.hpp"
#include "core/data/element.hpp"
#include "kit/operands/random.hpp"
#include "octavo/numeric.hpp"

namespace octavo::test::inverses_test {
namespace {

// What halves of steps of a type's codes are cut to; zero points reach further.
struct Target {
  DType to;
  std::int32_t azp;
  int tie_bits;
};
constexpr Target kTargets[] = {{DType::int8, 0, 8},           {DType::uint8, 0, 10},
                               {DType::int8, -200, 10},       {DType::float8_e4m3fn, 0, 6},
                               {DType::float8_e5m2, 0, 6},    {DType::float8_e4m3fnuz, 0, 6},
                               {DType::float8_e5m2fnuz, 0, 6}};

std::vector<double> ties_of(const Target& target) {
  std::vector<double> ties;
  if (!is_float8(target.to)) {
    for (int i = -330; i < 330; ++i) ties.push_back(i + 0.5);
    return ties;
  }
  for (std::uint8_t code = 0; code < 127; ++code) {
    const std::array<std::uint8_t, 2> codes{code, static_cast<std::uint8_t>(code + 1)};
    const double tie = 0.5 * (load_float(target.to, codes.data(), 0) +
                              double{load_float(target.to, codes.data(), 1)});
    if (!(tie < 500.0)) continue;
    ties.push_back(tie);
    ties.push_back(-tie);
  }
  return ties;
}

// Significands at random, of few bits, and around multiples of what ties leave.
std::vector<float> factors_for(int tie_bits) {
  std::vector<float> factors;
  const kit::Random random(11);
  for (std::uint64_t i = 0; i < 40; ++i) {
    const auto bits = static_cast<std::uint32_t>(random.bits(i)) & 0x7FFFFFU;
    const std::uint32_t exponent = static_cast<std::uint32_t>(127 - 58 + 3 * i) << 23;
    factors.push_back(std::bit_cast<float>(exponent | bits));
    factors.push_back(std::bit_cast<float>(exponent | (bits & 0x7C0000U)));
    factors.push_back(std::bit_cast<float>(exponent));
    const std::uint32_t multiple = bits & ~((1U << (25 - tie_bits)) - 1);
    for (std::uint32_t off = 0; off < 9; ++off) {
      factors.push_back(std::bit_cast<float>(exponent | ((multiple + off) & 0x7FFFFFU)));
      factors.push_back(std::bit_cast<float>(exponent | ((multiple - off) & 0x7FFFFFU)));
    }
  }
  for (const float odd : {0.0F, -1.0F, 0x1p-126F, 0x1p-61F, 0x1p61F, 0x1p127F, 3.4e38F,
                          std::nanf(""), std::bit_cast<float>(cpu::kInfinityBits)}) {
    factors.push_back(odd);
  }
  return factors;
}

// Elements whose quotients lie at ties, and on each side of where they begin to round to them.
std::vector<float> elements_at(const std::vector<double>& ties, float factor) {
  std::vector<float> x{0.0F, -0.0F, 0x1p-149F, -0x1p-149F};
  for (const double tie : ties) {
    for (const double off : {0.0, 0x1p-24, -0x1p-24, 0x1p-25, -0x1p-25}) {
      const auto nearest = static_cast<float>(tie * (1.0 + off) * double{factor});
      x.push_back(nearest);
      x.push_back(std::nextafter(nearest, INFINITY));
      x.push_back(std::nextafter(nearest, -INFINITY));
    }
  }
  return x;
}

std::vector<std::uint8_t> codes_of(const cpu::Kernels& kernels, cpu::RowCodes row) {
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(row.count));
  row.codes = codes.data();
  kernels.quantize(row);
  return codes;
}

TEST(Inverses, GiveTheCodesOfDivisionsAtEveryTie) {
  for (const cpu::Kernels* kernels : cpu::usable_kernels()) {
    for (const Target& target : kTargets) {
      const std::vector<double> ties = ties_of(target);
      for (const float factor : factors_for(target.tie_bits)) {
        float inverse = 0.0F, rest = 0.0F;
        if (!kernels->invert(&factor, 1, target.tie_bits, &inverse, &rest)) continue;
        const std::vector<float> x = elements_at(ties, factor);
        for (const DType from : {DType::float32, DType::bfloat16, DType::float16}) {
          if (from == DType::float16 && !(factor > 0x1p-12F && factor < 0x1p6F)) continue;
          std::vector<float> row(x.size());  // room for any type
          const auto count = static_cast<std::int64_t>(x.size());
          store_row(from, x.data(), count, row.data(), 1, Overflow::saturate);
          cpu::RowCodes by_division{.from = from,
                                    .source = row.data(),
                                    .count = count,
                                    .factor = factor,
                                    .to = target.to,
                                    .azp = target.azp,
                                    .tame = true};
          cpu::RowCodes by_inverse = by_division;
          by_inverse.inverses = &inverse;
          by_inverse.inverse_rests = &rest;
          ASSERT_EQ(codes_of(*kernels, by_inverse), codes_of(*kernels, by_division))
              << kernels->on_floats << ", " << name(from) << " to " << name(target.to)
              << ", divisor " << factor;
        }
      }
    }
  }
}

// In turn by size, where steps hold elements of one binade, and out of order.
TEST(Inverses, GiveTheCodesOfDivisionsToEveryBfloat16) {
  for (const cpu::Kernels* kernels : cpu::usable_kernels()) {
    for (const Target& target : kTargets) {
      for (const float factor : {1.0F, 0x1p-58F, 0.0371F, 1.7e9F, 0x1.fffffep-9F}) {
        float inverse = 0.0F, rest = 0.0F;
        if (!kernels->invert(&factor, 1, target.tie_bits, &inverse, &rest)) continue;
        std::vector<std::uint16_t> x;
        for (std::uint32_t bits = 0; bits < 0x10000U; ++bits) {
          const float value = std::bit_cast<float>(bits << 16);
          if (std::abs(value / factor) < 0x1p9F) x.push_back(static_cast<std::uint16_t>(bits));
        }
        const std::size_t ordered = x.size();
        const kit::Random random(12);
        for (std::uint64_t i = 0; i < ordered; ++i) x.push_back(x[random.bits(i) % ordered]);
        for (const std::int64_t azp : {std::int64_t{target.azp}, -cpu::kNearAzp + 1,
                                       std::int64_t{5000}, std::int64_t{70000}}) {
          if (azp != 0 && target.azp == 0 && target.to != DType::uint8) continue;
          cpu::RowCodes by_division{.from = DType::bfloat16,
                                    .source = x.data(),
                                    .count = static_cast<std::int64_t>(x.size()),
                                    .factor = factor,
                                    .to = target.to,
                                    .azp = static_cast<std::int32_t>(azp),
                                    .tame = true};
          cpu::RowCodes by_inverse = by_division;
          by_inverse.inverses = &inverse;
          by_inverse.inverse_rests = &rest;
          ASSERT_EQ(codes_of(*kernels, by_inverse), codes_of(*kernels, by_division))
              << kernels->on_floats << ", " << name(target.to) << ", divisor " << factor << ", "
              << azp;
        }
      }
    }
  }
}

// Runs of every length, by powers of two and by other factors: elements of all sizes, zeros among
// them, that overflow or not, at any address.
TEST(Inverses, GiveTheCodesOfDivisionsToRuns) {
  constexpr std::size_t kCount = 5000;
  const kit::Random random(13);
  for (const cpu::Kernels* kernels : cpu::usable_kernels()) {
    for (const Target& target : kTargets) {
      for (const std::int64_t run : {1, 16, 32, 48, 64, 96, 128, 192, 640}) {
        for (const bool powers : {true, false}) {
          const std::size_t cells =
              (kCount + static_cast<std::size_t>(run) - 1) / static_cast<std::size_t>(run);
          std::vector<float> factors, inverses(cells), rests(cells);
          std::vector<std::int32_t> azps;
          for (std::uint64_t j = 0; j < cells; ++j) {
            const float power = std::ldexp(1.0F, static_cast<int>(random.bits(j) % 90) - 45);
            factors.push_back(powers ? power : power * 1.1443F);
            azps.push_back(static_cast<std::int32_t>(random.bits(j + 7) % 20000) - 10000);
          }
          if (!kernels->invert(factors.data(), static_cast<std::int64_t>(cells), target.tie_bits,
                               inverses.data(), rests.data())) {
            continue;
          }
          std::vector<float> x;
          for (std::uint64_t i = 0; i < kCount; ++i) {
            const float reach = i / 640 % 2 == 0 ? 0x1p8F : 4.0F;
            const double tiny = i % 211 == 0 ? 0x1p-20 : 1.0;
            const double size = i % 9 == 0 ? 0.0 : 2.0 * random.uniform(i) - 1.0;
            x.push_back(static_cast<float>(reach * size * tiny) *
                        factors[i / static_cast<std::uint64_t>(run)]);
          }
          for (const DType from : {DType::bfloat16, DType::float32}) {
            std::vector<float> row(kCount);
            store_row(from, x.data(), kCount, row.data(), 1, Overflow::saturate);
            for (const std::int64_t count :
                 {std::int64_t{kCount}, std::int64_t{4480}, std::int64_t{513}, std::int64_t{90}}) {
              cpu::RowCodes by_division{.from = from,
                                        .source = row.data(),
                                        .count = count,
                                        .factors = factors.data(),
                                        .azps = target.azp == 0 ? nullptr : azps.data(),
                                        .run = run,
                                        .to = target.to,
                                        .tame = true};
              cpu::RowCodes by_inverse = by_division;
              by_inverse.inverses = inverses.data();
              by_inverse.inverse_rests = rests.data();
              for (const Overflow overflow : {Overflow::saturate, Overflow::ieee}) {
                by_inverse.overflow = by_division.overflow = overflow;
                ASSERT_EQ(codes_of(*kernels, by_inverse), codes_of(*kernels, by_division))
                    << kernels->on_floats << ", " << name(from) << " to " << name(target.to)
                    << ", runs of " << run << " in " << count << ", powers of two " << powers;
              }
            }
          }
        }
      }
    }
  }
}

TEST(Inverses, AreOfAllFactorsOrOfNone) {
  for (const cpu::Kernels* kernels : cpu::usable_kernels()) {
    for (const std::size_t count : {1U, 15U, 16U, 17U, 70U}) {
      std::vector<float> factors(count, 0.75F);
      std::vector<float> inverses(count + 1, -1.0F), rests(count + 1, -1.0F);
      const auto invert = [&] {
        return kernels->invert(factors.data(), static_cast<std::int64_t>(count), 8, inverses.data(),
                               rests.data());
      };
      const bool inverts = invert();
      EXPECT_EQ(inverses.back(), -1.0F);
      EXPECT_EQ(rests.back(), -1.0F);
      for (std::size_t i = 0; i < count && inverts; ++i) {
        EXPECT_EQ(inverses[i], 1.0F / 0.75F);
        EXPECT_EQ(rests[i], std::fma(-inverses[i], 0.75F, 1.0F) * inverses[i]);
        for (const float no : {std::bit_cast<float>(0x3F800001U), std::bit_cast<float>(0x3F7FFFFFU),
                               0.0F, -1.0F, 0x1p-100F, 0x1p100F, std::nanf("")}) {
          factors[i] = no;
          EXPECT_FALSE(invert()) << no << " at " << i << " of " << count;
        }
        factors[i] = 0.75F;
      }
    }
  }
}

}  // namespace
}  // namespace octavo::test::inverses_test
