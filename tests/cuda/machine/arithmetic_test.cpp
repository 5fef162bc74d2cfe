// SPDX-License-Identifier: Apache-2.0
// The arithmetic of tensor cores: every pair of codes, hostile sums, laws, and its error bound.
#include "simulator/arithmetic.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "kit/operands/random.hpp"
#include "published_sum.hpp"

namespace octavo::test::arithmetic_test {
namespace {

using cuda::kStepBytes;
using cuda::simulator::kNan;
using cuda::simulator::multiply_step;
using cuda::simulator::step_error_bound;
__extension__ using Wide = __int128;

using Bytes = std::vector<std::uint8_t>;
using Sums = std::vector<std::uint32_t>;

std::string describe(TensorUnit unit, const MmaCase& mma) {
  constexpr const char* kNames[] = {"wgmma ", "mma_sync ", "mma_sync of 8.x "};
  return std::string(kNames[static_cast<int>(unit)]) + mma.name;
}

bool is_float8(MmaType type) { return !cuda::is_integer(type) && !cuda::is_half(type); }

template <class Body>
void for_each_float(Body&& body) {
  for (const TensorUnit unit : kUnits) {
    for (const MmaCase& mma : kMmaCases) {
      if (!cuda::is_integer(mma.type) && has(unit, mma.type)) body(unit, mma);
    }
  }
}

std::uint32_t one_step(TensorUnit unit, MmaType type, const std::uint8_t* a, const std::uint8_t* b,
                       std::uint32_t c) {
  multiply_step(unit, type, a, 1, b, 1, &c);
  return c;
}

// Each row of A against each of B, element for element as published.
void expect_published(TensorUnit unit, const MmaCase& mma, const Bytes& a, const Bytes& b,
                      const Sums& start) {
  const int rows = static_cast<int>(a.size()) / kStepBytes;
  const int columns = static_cast<int>(b.size()) / kStepBytes;
  Sums got = start;
  multiply_step(unit, mma.type, a.data(), rows, b.data(), columns, got.data());
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < columns; ++j) {
      const auto at = static_cast<std::size_t>(i * columns + j);
      const std::uint32_t want = published_step(unit, mma, a.data() + i * kStepBytes,
                                                b.data() + j * kStepBytes, start[at]);
      ASSERT_EQ(got[at], want) << describe(unit, mma) << ", row " << i << ", column " << j
                               << ", accumulator " << start[at];
    }
  }
}

// Zeros, but for element k of every row.
Bytes single(int count, int bytes, int k, const std::function<std::uint32_t(int)>& code) {
  Bytes rows(static_cast<std::size_t>(count) * kStepBytes);
  for (int i = 0; i < count; ++i) {
    const std::uint32_t value = code(i);
    std::memcpy(&rows[static_cast<std::size_t>(i * kStepBytes + k * bytes)], &value,
                static_cast<std::size_t>(bytes));
  }
  return rows;
}

const std::uint32_t kAccumulators[] = {0x00000000, 0x80000000, 0x3FC00000, 0xC1234567, 0x00000001,
                                       0x80012345, 0x7F7FFFFF, 0xFF000000, 0x7F800000, 0xFF800000,
                                       0x7FC00000, 0x33800000, 0x4B000001};

TEST(TensorArithmetic, MultipliesEveryPairOfFloat8CodesAsPublished) {
  const auto code = [](int i) { return static_cast<std::uint32_t>(i); };
  for_each_float([&](TensorUnit unit, const MmaCase& mma) {
    if (!is_float8(mma.type)) return;
    for (const int k : {0, 21}) {
      Sums start(256 * 256);
      for (std::size_t at = 0; at < start.size(); ++at) {
        start[at] = kAccumulators[(at / 256 * 5 + at % 256 + static_cast<std::size_t>(k)) % 13];
      }
      expect_published(unit, mma, single(256, 1, k, code), single(256, 1, k, code), start);
    }
  });
}

TEST(TensorArithmetic, MultipliesEveryIntegerPairExactly) {
  const auto code = [](int i) { return static_cast<std::uint32_t>(i); };
  for (const TensorUnit unit : kUnits) {
    for (const MmaCase& mma : kMmaCases) {
      if (!cuda::is_integer(mma.type)) continue;
      for (const std::uint32_t c : {0x00000000U, 0x7FFFFFFFU, 0x80000000U}) {  // sums wrap
        expect_published(unit, mma, single(256, 1, 31, code), single(256, 1, 31, code),
                         Sums(256 * 256, c));
      }
    }
  }
}

TEST(TensorArithmetic, MultipliesEverySixteenBitCodeByHostileOnes) {
  const std::uint32_t others[2][16] = {
      {0x0000, 0x8000, 0x3C00, 0xBC00, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00,
       0x7E00, 0x3555, 0xC248, 0x0010, 0x7C01},
      {0x0000, 0x8000, 0x3F80, 0xBF80, 0x0001, 0x807F, 0x0080, 0x7F7F, 0xFF7F, 0x7F80, 0xFF80,
       0x7FC0, 0x3EAB, 0xC049, 0x0810, 0x7F81}};
  for (const MmaCase& mma : kMmaCases) {
    if (!cuda::is_half(mma.type)) continue;
    const auto& codes = others[mma.type == MmaType::bf16_bf16 ? 1 : 0];
    const Bytes b = single(16, 2, 3, [&](int j) { return codes[static_cast<std::size_t>(j)]; });
    for (int first = 0; first < 65536; first += 4096) {
      const Bytes a =
          single(4096, 2, 3, [&](int i) { return static_cast<std::uint32_t>(first + i); });
      const Sums start(4096 * 16, kAccumulators[static_cast<std::size_t>(first / 4096) % 13]);
      expect_published(TensorUnit::wgmma, mma, a, b, start);
      expect_published(TensorUnit::mma_sync_of_8, mma, a, b, start);
      Sums sums[2] = {start, start};
      for (const TensorUnit unit : {TensorUnit::wgmma, TensorUnit::mma_sync}) {
        multiply_step(unit, mma.type, a.data(), 4096, b.data(), 16,
                      sums[static_cast<std::size_t>(unit)].data());
      }
      ASSERT_EQ(sums[0], sums[1]) << mma.name << ": both of Hopper add 16-bit products alike";
    }
  }
}

// Random rows in several styles: any finite code, tiny and zero ones, one exponent (cancellation),
// one huge term among small ones, specials now and then.
class Hostile {
 public:
  explicit Hostile(std::uint64_t seed) : random_(seed) {}

  std::uint32_t next() { return static_cast<std::uint32_t>(random_.bits(index_++) >> 16); }
  bool once_in(std::uint32_t n) { return next() % n == 0; }

  void fill(Bytes& rows, DType dtype, int style) {
    const int bytes = dtype == DType::bfloat16 || dtype == DType::float16 ? 2 : 1;
    for (std::size_t at = 0; at < rows.size(); at += static_cast<std::size_t>(bytes)) {
      const std::uint32_t code = element(dtype, bytes, style);
      std::memcpy(&rows[at], &code, static_cast<std::size_t>(bytes));
    }
  }

  // Anything; near 1; subnormal or zero; huge.
  std::uint32_t accumulator() {
    const std::uint32_t bits = next() & 0x807FFFFFU;
    switch (next() % 5) {
      case 0:
        return next();
      case 1:
        return bits;
      case 2:
        return 0;
      case 3:
        return bits | (200 + next() % 54) << 23;
      default:
        return bits | (107 + next() % 40) << 23;
    }
  }

 private:
  std::uint32_t element(DType dtype, int bytes, int style) {
    const std::uint32_t sign = bytes == 1 ? 0x80U : 0x8000U;
    const int mantissa = dtype == DType::float8_e4m3fn ? 3
                         : dtype == DType::float8_e5m2 ? 2
                         : dtype == DType::float16     ? 10
                                                       : 7;
    const std::uint32_t fraction = sign | ((1U << mantissa) - 1U);
    const std::uint32_t one = dtype == DType::bfloat16        ? 127U
                              : dtype == DType::float8_e4m3fn ? 7U
                                                              : 15U;
    for (;;) {
      std::uint32_t code = next() & (2 * sign - 1U);
      if (style == 1 && once_in(2)) code &= fraction;
      if (style == 2 && !once_in(3)) code &= sign;
      if (style == 3) code = (code & fraction) | one << mantissa;
      if (style == 4 && !once_in(16)) code = (code & fraction) | (one / 4) << mantissa;
      if (style == 5 && once_in(64)) return code;  // a NaN or an infinity may be among them
      if (std::isfinite(kit::load(dtype, &code, 0))) return code;
    }
  }

  kit::Random random_;
  std::uint64_t index_ = 0;
};

TEST(TensorArithmetic, AddsHostileSumsAsPublished) {
  for (const TensorUnit unit : kUnits) {
    for (const MmaCase& mma : kMmaCases) {
      if (!has(unit, mma.type)) continue;
      Hostile hostile(static_cast<std::uint64_t>(mma.type));
      for (int trial = 0; trial < 36; ++trial) {
        // 75 columns are a block of 64, one of 8 and a part of one.
        Bytes a(17 * kStepBytes), b(75 * kStepBytes);
        hostile.fill(a, mma.a, trial % 6);
        hostile.fill(b, mma.b, trial / 6);
        Sums start(17 * 75);
        for (std::uint32_t& c : start) c = hostile.accumulator();
        expect_published(unit, mma, a, b, start);
        if (HasFatalFailure()) return;
      }
    }
  }
}

// Every significand all ones, every exponent 0: no sum in fixed point is larger.
TEST(TensorArithmetic, AddsTheFullestSumsAsPublished) {
  for_each_float([](TensorUnit unit, const MmaCase& mma) {
    Bytes a(2 * kStepBytes, 0x3F);
    if (cuda::is_half(mma.type)) {
      for (std::size_t at = 0; at < a.size(); at += 2) a[at] = 0xFF;
    }
    const Bytes b(a.begin(), a.begin() + kStepBytes);
    const auto bytes = static_cast<std::size_t>(cuda::element_bytes(mma.type));
    for (std::size_t at = kStepBytes + bytes - 1; at < a.size(); at += bytes) a[at] |= 0x80U;
    expect_published(unit, mma, a, b, {0x3FFFFFFFU, 0xBFFFFFFFU});
  });
}

// What a result keeps of an accumulator that fits its 23 or 13 fractional bits.
std::uint32_t kept(TensorUnit unit, MmaType type, std::uint32_t c) {
  return unit == TensorUnit::wgmma && is_float8(type) ? c & ~0x3FFU : c;
}

TEST(TensorArithmetic, KeepsTheAccumulatorUpToItsCutWhereOperandsAreZero) {
  const Bytes zeros(kStepBytes);
  for_each_float([&](TensorUnit unit, const MmaCase& mma) {
    Hostile hostile(5);
    for (int trial = 0; trial < 2000; ++trial) {
      const std::uint32_t c = hostile.next() % 0x7F000000U | (trial % 2 == 0 ? 0x80000000U : 0U);
      if ((c & 0x7F800000U) == 0) continue;  // subnormals: as published, above
      Bytes any(kStepBytes);
      hostile.fill(any, mma.b, 0);
      ASSERT_EQ(one_step(unit, mma.type, zeros.data(), zeros.data(), c), kept(unit, mma.type, c));
    }
  });
}

TEST(TensorArithmetic, TakesTheTermsOfAFusedSumInAnyOrder) {
  for_each_float([&](TensorUnit unit, const MmaCase& mma) {
    // What one sum takes.
    if (unit == TensorUnit::mma_sync_of_8 || (unit == TensorUnit::mma_sync && is_float8(mma.type)))
      return;
    Hostile hostile(6);
    const int bytes = cuda::element_bytes(mma.type);
    for (int trial = 0; trial < 600; ++trial) {
      Bytes a(kStepBytes), b(kStepBytes), turned_a(kStepBytes), turned_b(kStepBytes);
      hostile.fill(a, mma.a, trial % 6);
      hostile.fill(b, mma.b, trial % 5);
      const int shift = static_cast<int>(hostile.next() % 32) * bytes;
      for (int at = 0; at < kStepBytes; ++at) {
        const auto to = static_cast<std::size_t>((at + shift) % kStepBytes);
        turned_a[to] = a[static_cast<std::size_t>(at)];
        turned_b[to] = b[static_cast<std::size_t>(at)];
      }
      const std::uint32_t c = hostile.accumulator();
      ASSERT_EQ(one_step(unit, mma.type, turned_a.data(), turned_b.data(), c),
                one_step(unit, mma.type, a.data(), b.data(), c))
          << describe(unit, mma);
    }
  });
}

TEST(TensorArithmetic, TurnsTheSignWithThatOfAAndTheAccumulator) {
  for_each_float([&](TensorUnit unit, const MmaCase& mma) {
    Hostile hostile(7);
    const std::size_t bytes = static_cast<std::size_t>(cuda::element_bytes(mma.type));
    for (int trial = 0; trial < 600; ++trial) {
      Bytes a(kStepBytes), b(kStepBytes);
      hostile.fill(a, mma.a, trial % 6);
      hostile.fill(b, mma.b, trial % 5);
      const std::uint32_t c = hostile.accumulator();
      const std::uint32_t plain = one_step(unit, mma.type, a.data(), b.data(), c);
      for (std::size_t at = bytes - 1; at < a.size(); at += bytes) a[at] ^= 0x80U;
      const std::uint32_t turned = one_step(unit, mma.type, a.data(), b.data(), c ^ 0x80000000U);
      // Zero and NaN have no sign of their own.
      const bool signless = plain == 0U || plain == kNan;
      ASSERT_EQ(turned, signless ? plain : plain ^ 0x80000000U) << describe(unit, mma);
    }
  });
}

TEST(TensorArithmetic, GivesAnElementTheSameBitsInAnyTile) {
  for (const TensorUnit unit : kUnits) {
    for (const MmaCase& mma : kMmaCases) {
      if (!has(unit, mma.type)) continue;
      Hostile hostile(8);
      Bytes a(16 * kStepBytes), b(256 * kStepBytes);
      hostile.fill(a, mma.a, 5);
      hostile.fill(b, mma.b, 0);
      for (const int columns : {8, 64, 72, 256}) {
        Sums sums(static_cast<std::size_t>(16 * columns));
        for (std::uint32_t& c : sums) c = hostile.accumulator();
        const Sums start = sums;
        multiply_step(unit, mma.type, a.data(), 16, b.data(), columns, sums.data());
        for (int at = 0; at < 16 * columns; ++at) {
          const auto index = static_cast<std::size_t>(at);
          ASSERT_EQ(sums[index], one_step(unit, mma.type, a.data() + at / columns * kStepBytes,
                                          b.data() + at % columns * kStepBytes, start[index]))
              << describe(unit, mma) << ", " << columns << " columns, element " << at;
        }
      }
    }
  }
}

// Sums over several steps against exact ones, in units of 2^-kUnit: products of e5m2, fp16 and of
// bfloat16 whose exponents are at most 20 from 0 are multiples of it, and 128 bits hold them.
constexpr int kUnit = 56;

bool fits(DType dtype, const std::uint8_t* bytes, int k) {
  const double value = kit::load(dtype, bytes, k);
  return value == 0.0 || (std::abs(value) < 0x1p20 && std::abs(value) >= 0x1p-20);
}

TEST(TensorArithmetic, StaysInsideItsErrorBound) {
  for_each_float([&](TensorUnit unit, const MmaCase& mma) {
    double worst = 0.0;  // error over bound
    for (int trial = 0; trial < 240; ++trial) {
      Hostile hostile(static_cast<std::uint64_t>(100 + trial));
      std::uint32_t c = 0;
      Wide exact = 0;
      double bound = 0.0;
      for (int step = 0; step < 24; ++step) {
        Bytes a(kStepBytes), b(kStepBytes);
        hostile.fill(a, mma.a, trial % 5);
        hostile.fill(b, mma.b, trial / 5 % 5);
        if (trial % 3 == 0) {  // all positive: cuts add up
          const auto bytes = static_cast<std::size_t>(cuda::element_bytes(mma.type));
          for (std::size_t at = bytes - 1; at < a.size(); at += bytes) {
            a[at] &= 0x7FU;
            b[at] &= 0x7FU;
          }
        }
        for (int k = 0; k < cuda::step_k(mma.type); ++k) {
          const int bytes = cuda::element_bytes(mma.type);
          if (!fits(mma.a, a.data(), k)) std::fill_n(a.begin() + k * bytes, bytes, std::uint8_t{0});
          if (!fits(mma.b, b.data(), k)) std::fill_n(b.begin() + k * bytes, bytes, std::uint8_t{0});
        }
        const double before = std::abs(std::ldexp(static_cast<double>(exact), -kUnit)) + bound;
        bound += step_error_bound(unit, mma.type, a.data(), b.data(), before);
        for (int k = 0; k < cuda::step_k(mma.type); ++k) {
          const double product = kit::load(mma.a, a.data(), k) * kit::load(mma.b, b.data(), k);
          exact += static_cast<Wide>(std::ldexp(product, kUnit));
        }
        c = one_step(unit, mma.type, a.data(), b.data(), c);
        const double got = std::bit_cast<float>(c);
        // Exact sums are below 2^50, so that their difference in units loses nothing that counts.
        const Wide difference = static_cast<Wide>(std::ldexp(got, kUnit)) - exact;
        const double error = std::abs(std::ldexp(static_cast<double>(difference), -kUnit));
        ASSERT_LE(error, bound) << describe(unit, mma) << ", trial " << trial << ", step " << step;
        if (bound > 0.0) worst = std::max(worst, error / bound);
      }
    }
    // A bound that nothing comes near would hold of anything.
    EXPECT_GT(worst, 0.02) << describe(unit, mma);
  });
}

TEST(TensorArithmetic, HasNoErrorInIntegers) {
  const Bytes bytes(kStepBytes, 0x7F);
  EXPECT_EQ(step_error_bound(TensorUnit::wgmma, MmaType::s8_s8, bytes.data(), bytes.data(), 1e9),
            0.0);
}

}  // namespace
}  // namespace octavo::test::arithmetic_test
