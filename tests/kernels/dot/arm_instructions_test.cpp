// SPDX-License-Identifier: Apache-2.0
// The instructions of Arm that kernels use against what they are taken for: every pair of bytes,
// and random vectors.
#include <gtest/gtest.h>

#if defined(__aarch64__)
#include <arm_neon.h>

#include "backends/cpu/kernels/isa_region.hpp"
#include "backends/cpu/kernels/sve.hpp"
#if OCTAVO_SVE
#include <arm_sve.h>
#endif

#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>

#include "kernels/machines/arm_instructions.hpp"
#include "core/cpu_features.hpp"
#include "kit/operands/random.hpp"

namespace octavo::test::arm_instructions_test {
namespace {

using arm::Bytes;
using arm::Sums;

constexpr int kVectors = 100000;

// Operands of the n'th instruction: every pair of bytes first, in all lanes, then random ones.
struct Operands {
  Bytes a{}, b{};
  Sums sums{};

  explicit Operands(int n) {
    const kit::Random random(static_cast<std::uint64_t>(n));
    const auto bits = [&](std::size_t i) { return random.bits(static_cast<std::uint64_t>(i)); };
    for (std::size_t i = 0; i < 16; ++i) {
      a[i] = static_cast<std::int8_t>(n < 65536 ? n >> 8 : static_cast<int>(bits(i) & 0xFF));
      b[i] = static_cast<std::int8_t>(n < 65536 ? n : static_cast<int>(bits(i + 16) & 0xFF));
    }
    for (std::size_t i = 0; i < 4; ++i) sums[i] = static_cast<std::int32_t>(bits(i + 32));
  }
};

int8x16_t load(const Bytes& bytes) { return vld1q_s8(bytes.data()); }
int32x4_t load(const Sums& sums) { return vld1q_s32(sums.data()); }
Sums stored(int32x4_t x) {
  Sums sums;
  vst1q_s32(sums.data(), x);
  return sums;
}

OCTAVO_ISA_BEGIN("arch=armv8.2-a+dotprod")
template <int lane>
OCTAVO_KERNEL Sums sdot(const Operands& x) {
  return stored(vdotq_laneq_s32(load(x.sums), load(x.b), load(x.a), lane));
}
OCTAVO_ISA_END
OCTAVO_ISA_BEGIN("arch=armv8.2-a+i8mm")
OCTAVO_KERNEL Sums smmla(const Operands& x) {
  return stored(vmmlaq_s32(load(x.sums), load(x.a), load(x.b)));
}
OCTAVO_ISA_END
OCTAVO_KERNEL Sums smull_sadalp(const Operands& x, std::size_t half) {
  const int16x8_t products = half == 0 ? vmull_s8(vget_low_s8(load(x.a)), vget_low_s8(load(x.b)))
                                       : vmull_high_s8(load(x.a), load(x.b));
  return stored(vpadalq_s16(load(x.sums), products));
}

// bfloat16 and sums whose exponents are near each other, or near an end; one in eight of any bits.
struct FloatOperandsOf {
  arm::Halves a{}, b{};
  arm::Floats sums{};

  explicit FloatOperandsOf(int n) {
    const kit::Random random(static_cast<std::uint64_t>(n));
    const auto bits = [&](int i) {
      return static_cast<std::uint32_t>(random.bits(static_cast<std::uint64_t>(i)));
    };
    constexpr std::uint32_t kFirst[] = {0, 50, 63, 120, 189, 191};  // exponents
    const std::uint32_t first = kFirst[bits(0) % std::size(kFirst)];
    const auto near = [&](std::uint32_t x, std::uint32_t exponent, std::uint32_t range) {
      const bool any = bits(1) % 8 == 0;
      return any ? x : (x & 0x807FFFFFU) | (exponent + (x >> 23) % range) << 23;
    };
    for (int i = 0; i < 8; ++i) {
      a[static_cast<std::size_t>(i)] =
          static_cast<std::uint16_t>(near(bits(2 + i), first, 4) >> 16);
      b[static_cast<std::size_t>(i)] =
          static_cast<std::uint16_t>(near(bits(10 + i), first, 4) >> 16);
    }
    const std::uint32_t product = first < 64 ? 0 : first * 2 - 127;
    for (int i = 0; i < 4; ++i) {
      sums[static_cast<std::size_t>(i)] = std::bit_cast<float>(
          near(bits(18 + i), product > 10 ? product - 10 : 0, product > 240 ? 14 : 30));
    }
  }
};

using Bits = std::array<std::uint32_t, 4>;
Bits bits_of(const arm::Floats& sums) { return std::bit_cast<Bits>(sums); }
arm::Floats stored(float32x4_t x) {
  arm::Floats sums;
  vst1q_f32(sums.data(), x);
  return sums;
}
OCTAVO_ISA_BEGIN("arch=armv8.2-a+bf16")
bfloat16x8_t load(const arm::Halves& x) { return vreinterpretq_bf16_u16(vld1q_u16(x.data())); }
template <int lane>
OCTAVO_KERNEL arm::Floats bfdot(const FloatOperandsOf& x) {
  return stored(vbfdotq_laneq_f32(vld1q_f32(x.sums.data()), load(x.b), load(x.a), lane));
}
OCTAVO_KERNEL arm::Floats bfmmla(const FloatOperandsOf& x) {
  return stored(vbfmmlaq_f32(vld1q_f32(x.sums.data()), load(x.a), load(x.b)));
}
OCTAVO_ISA_END

#if OCTAVO_SVE
// The same in every quad of a register, of any length up to 2048 bits.
constexpr std::size_t kMostQuads = 16;
OCTAVO_ISA_BEGIN("arch=armv8.2-a+sve+i8mm+bf16")
OCTAVO_INLINE svint8_t quads(const Bytes& x) { return svld1rq_s8(svptrue_b8(), x.data()); }
OCTAVO_INLINE svint32_t quads(const Sums& x) { return svld1rq_s32(svptrue_b32(), x.data()); }
OCTAVO_INLINE svfloat32_t quads(const arm::Floats& x) {
  return svld1rq_f32(svptrue_b32(), x.data());
}
OCTAVO_INLINE svbfloat16_t quads(const arm::Halves& x) {
  return svreinterpret_bf16_u16(svld1rq_u16(svptrue_b16(), x.data()));
}
// Every quad is the first one.
OCTAVO_INLINE Sums stored(svint32_t x) {
  std::array<Sums, kMostQuads> all;
  svst1_s32(svptrue_b32(), all.data()->data(), x);
  for (std::size_t q = 1; q < svcntb() / 16; ++q) EXPECT_EQ(all[q], all[0]);
  return all[0];
}
OCTAVO_INLINE Sums stored_bits(svfloat32_t x) { return stored(svreinterpret_s32_f32(x)); }
OCTAVO_KERNEL Sums sve_sdot(const Operands& x) {
  return stored(svdot_lane_s32(quads(x.sums), quads(x.b), quads(x.a), 3));
}
OCTAVO_KERNEL Sums sve_sdot_of_lanes(const Operands& x) {
  return stored(svdot_s32(quads(x.sums), quads(x.b), quads(x.a)));
}
OCTAVO_KERNEL Sums sve_smmla(const Operands& x) {
  return stored(svmmla_s32(quads(x.sums), quads(x.a), quads(x.b)));
}
OCTAVO_KERNEL Sums sve_bfdot(const FloatOperandsOf& x) {
  return stored_bits(svbfdot_lane_f32(quads(x.sums), quads(x.b), quads(x.a), 3));
}
OCTAVO_KERNEL Sums sve_bfmmla(const FloatOperandsOf& x) {
  return stored_bits(svbfmmla_f32(quads(x.sums), quads(x.a), quads(x.b)));
}
OCTAVO_ISA_END
#endif

template <class Check>
void for_each_operands(const Check& check) {
  for (int n = 0; n < 65536 + kVectors && !testing::Test::HasFatalFailure(); ++n) {
    check(Operands(n));
  }
}

TEST(ArmInstructions, SmullAndSadalpAreExact) {
  for_each_operands([](const Operands& x) {
    for (const std::size_t half : {std::size_t{0}, std::size_t{1}}) {
      ASSERT_EQ(smull_sadalp(x, half), arm::sadalp(x.sums, arm::smull(x.a, x.b, half)));
    }
  });
}

TEST(ArmInstructions, SdotAddsFourProducts) {
  if (!this_cpu().neon_dotprod) GTEST_SKIP() << "this CPU has no dot products";
  for_each_operands([](const Operands& x) {
    ASSERT_EQ(sdot<0>(x), arm::sdot(x.sums, x.b, x.a, 0));
    ASSERT_EQ(sdot<3>(x), arm::sdot(x.sums, x.b, x.a, 3));
  });
}

TEST(ArmInstructions, SmmlaMultipliesTwoRowsByTwoColumns) {
  if (!this_cpu().neon_i8mm) GTEST_SKIP() << "this CPU has no i8mm";
  for_each_operands([](const Operands& x) { ASSERT_EQ(smmla(x), arm::smmla(x.sums, x.a, x.b)); });
}

TEST(ArmInstructions, BfdotAddsPairsThatItRoundsToOdd) {
  if (!this_cpu().neon_bf16) GTEST_SKIP() << "this CPU has no BF16";
  for (int n = 0; n < kVectors; ++n) {
    const FloatOperandsOf x(n);
    ASSERT_EQ(bits_of(bfdot<0>(x)), bits_of(arm::bfdot(x.sums, x.b, x.a, 0))) << n;
    ASSERT_EQ(bits_of(bfdot<3>(x)), bits_of(arm::bfdot(x.sums, x.b, x.a, 3))) << n;
  }
}

TEST(ArmInstructions, BfmmlaAddsThePairsOfBfdot) {
  if (!this_cpu().neon_bf16) GTEST_SKIP() << "this CPU has no BF16";
  for (int n = 0; n < kVectors; ++n) {
    const FloatOperandsOf x(n);
    ASSERT_EQ(bits_of(bfmmla(x)), bits_of(arm::bfmmla(x.sums, x.a, x.b))) << n;
  }
}

#if OCTAVO_SVE
TEST(ArmInstructions, SveDoesInEveryQuadWhatNeonDoes) {
  if (!this_cpu().sve) GTEST_SKIP() << "this CPU has no SVE";
  for_each_operands([](const Operands& x) {
    ASSERT_EQ(sve_sdot(x), arm::sdot(x.sums, x.b, x.a, 3));
    Sums lanes = x.sums;
    for (std::size_t j = 0; j < 4; ++j) {
      Sums one{x.sums[j]};
      Bytes b{};
      std::copy_n(x.b.begin() + 4 * static_cast<std::ptrdiff_t>(j), 4, b.begin());
      lanes[j] = arm::sdot(one, b, x.a, j)[0];
    }
    ASSERT_EQ(sve_sdot_of_lanes(x), lanes);
    if (!this_cpu().sve_i8mm) return;
    ASSERT_EQ(sve_smmla(x), arm::smmla(x.sums, x.a, x.b));
  });
  if (!this_cpu().sve_bf16) return;
  for (int n = 0; n < kVectors; ++n) {
    const FloatOperandsOf x(n);
    ASSERT_EQ(sve_bfdot(x), std::bit_cast<Sums>(arm::bfdot(x.sums, x.b, x.a, 3))) << n;
    ASSERT_EQ(sve_bfmmla(x), std::bit_cast<Sums>(arm::bfmmla(x.sums, x.a, x.b))) << n;
  }
}
#endif

}  // namespace
}  // namespace octavo::test::arm_instructions_test
#endif
