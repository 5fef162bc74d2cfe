// SPDX-License-Identifier: Apache-2.0
// vpdpbusd and vpdpbssd against what they are taken for: every pair of bytes, and random vectors.
#include <gtest/gtest.h>

#if defined(__x86_64__)
#include <immintrin.h>

#include <array>
#include <type_traits>

#include "backends/cpu/kernels/isa_region.hpp"
#include "core/cpu_features.hpp"
#include "kit/operands/random.hpp"
#include "kernels/machines/vnni_instructions.hpp"

namespace octavo::test::vnni_test {
namespace {

constexpr std::uint64_t kRandomVectors = 100000;
using Lanes = std::array<std::uint32_t, 16>;

struct Operands {
  alignas(64) Lanes sums, a, b;
};

// The n'th: every pair of bytes in all places first, then random ones.
Operands operands(std::uint64_t n) {
  const kit::Random random(n);
  Operands x;
  for (std::uint64_t i = 0; i < 16; ++i) {
    const auto bits = [&](std::uint64_t place) {
      return static_cast<std::uint32_t>(random.bits(3 * i + place));
    };
    const std::uint32_t pair = static_cast<std::uint32_t>(n);
    x.sums[i] = bits(0);
    x.a[i] = n < 65536 ? (pair >> 8) * 0x01010101U : bits(1);
    x.b[i] = n < 65536 ? (pair & 0xFFU) * 0x01010101U : bits(2);
  }
  return x;
}

template <class Byte, class Instruction>
void expect_dots(const Instruction& instruction, std::size_t lanes) {
  for (std::uint64_t n = 0; n < 65536 + kRandomVectors; ++n) {
    const Operands x = operands(n);
    Operands got = x;
    instruction(got);
    for (std::size_t i = 0; i < lanes; ++i) {
      ASSERT_EQ(vnni::dot<Byte>(x.sums[i], x.a[i], x.b[i]), got.sums[i]) << n << ", lane " << i;
    }
  }
}

OCTAVO_ISA_BEGIN("avx512f,avx512vnni")
OCTAVO_KERNEL void vpdpbusd_zmm(Operands& x) {
  _mm512_store_si512(&x.sums,
                     _mm512_dpbusd_epi32(_mm512_load_si512(&x.sums), _mm512_load_si512(&x.a),
                                         _mm512_load_si512(&x.b)));
}
OCTAVO_ISA_END

OCTAVO_ISA_BEGIN("avx2")
__m256i* front(Lanes& lanes) { return reinterpret_cast<__m256i*>(&lanes); }
#include "kernels/machines/vnni_dots-inl.hpp"
template <class Byte>
OCTAVO_KERNEL void dots_ymm(Operands& x) {
  *front(x.sums) = vnni_dots<Byte>(*front(x.sums), *front(x.a), *front(x.b));
}
OCTAVO_ISA_END

OCTAVO_ISA_BEGIN("avx2,avxvnni")
OCTAVO_KERNEL void vpdpbusd_ymm(Operands& x) {
  *front(x.sums) = _mm256_dpbusd_avx_epi32(*front(x.sums), *front(x.a), *front(x.b));
}
OCTAVO_KERNEL void vpdpbssd_ymm([[maybe_unused]] Operands& x) {
#if defined(OCTAVO_AVX_VNNI_INT8)
  __asm__("vpdpbssd %2, %1, %0" : "+x"(*front(x.sums)) : "x"(*front(x.a)), "x"(*front(x.b)));
#endif
}
OCTAVO_ISA_END

#if defined(OCTAVO_AVX_VNNI_INT8)
constexpr bool kAssembled = true;
#else
constexpr bool kAssembled = false;
#endif

TEST(Vnni, VpdpbusdIsWhatItIsTakenFor) {
  if (this_cpu().avx512_vnni) {
    expect_dots<std::uint8_t>(vpdpbusd_zmm, 16);
  } else if (this_cpu().avx_vnni) {
    expect_dots<std::uint8_t>(vpdpbusd_ymm, 8);
  } else {
    GTEST_SKIP() << "this CPU has neither AVX-512 VNNI nor AVX-VNNI";
  }
}

TEST(Vnni, VpdpbssdIsWhatItIsTakenFor) {
  if (!kAssembled || !this_cpu().avx_vnni_int8) GTEST_SKIP() << "no AVX-VNNI-INT8 here";
  expect_dots<std::int8_t>(vpdpbssd_ymm, 8);
}

TEST(Vnni, SimulatedKernelsMultiplyByTheSame) {
  if (!this_cpu().avx2) GTEST_SKIP() << "this CPU has no AVX2";
  expect_dots<std::uint8_t>(dots_ymm<std::uint8_t>, 8);
  expect_dots<std::int8_t>(dots_ymm<std::int8_t>, 8);
}

}  // namespace
}  // namespace octavo::test::vnni_test
#endif
