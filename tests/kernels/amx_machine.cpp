// SPDX-License-Identifier: Apache-2.0
// AMX's kernels, as the library has them, on registers in plain C++: for any CPU with AVX-512 BW
// and VBMI.
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "amx_instructions.hpp"
#include "backends/cpu/kernels/dot.hpp"
#include "backends/cpu/kernels/isa_region.hpp"

#if defined(__x86_64__)
namespace octavo::test {
namespace {

thread_local std::int64_t shaped_for = 0;

#include "backends/cpu/kernels/number_table-inl.hpp"

OCTAVO_ISA_BEGIN("avx512f,avx512bw,avx512vbmi,fma")
#include "backends/cpu/kernels/vec_avx512-inl.hpp"

amx::Tiles& tiles() {
  thread_local amx::Tiles all;
  return all;
}

constexpr std::size_t kColumns = amx::Tiles::kBytes / 4;

// sums[j] += the sum of four signed bytes of a times four of column j, for every step.
void add_bytes_to(std::uint32_t (&sums)[kColumns], const char* a, const amx::Tiles::Tile& b) {
  for (std::size_t k = 0; k < b.rows; ++k) {
    for (std::size_t i = 0; i < 4; ++i) {
      const int left = static_cast<signed char>(a[4 * k + i]);
      for (std::size_t j = 0; j < kColumns; ++j) {
        sums[j] +=
            static_cast<std::uint32_t>(left * static_cast<signed char>(b.data[k][4 * j + i]));
      }
    }
  }
}

// even[j], odd[j] += a product, fused, for every step; then they are added to each other and to
// sums[j].
void add_halves_to(float (&sums)[kColumns], const char* a, const amx::Tiles::Tile& b) {
  float chains[2][kColumns] = {};
  for (std::size_t k = 0; k < b.rows; ++k) {
    for (std::size_t i = 0; i < 2; ++i) {
      const float left = amx::Tiles::half(a + 4 * k + 2 * i);
      for (std::size_t j = 0; j < kColumns; ++j) {
        const float right = amx::Tiles::half(b.data[k].data() + 4 * j + 2 * i);
        chains[i][j] = amx::Tiles::flushed(std::fma(left, right, chains[i][j]));
      }
    }
  }
  for (std::size_t j = 0; j < kColumns; ++j) {
    const float pair = amx::Tiles::flushed(chains[0][j] + chains[1][j]);
    sums[j] = amx::Tiles::flushed(amx::Tiles::flushed(sums[j]) + pair);
  }
}

// sums[j] += the sum of four codes of a times four of column j, for every step: exact, rounded
// once.
void add_codes_to(float (&sums)[kColumns], const char* a, const amx::Tiles::Tile& b) {
  const auto number = [](char code) {
    return double{code_values(DType::float8_e4m3fn)[static_cast<std::uint8_t>(code)]};
  };
  double exact[kColumns] = {};
  for (std::size_t k = 0; k < b.rows; ++k) {
    for (std::size_t i = 0; i < 4; ++i) {
      const double left = number(a[4 * k + i]);
      for (std::size_t j = 0; j < kColumns; ++j) exact[j] += left * number(b.data[k][4 * j + i]);
    }
  }
  for (std::size_t j = 0; j < kColumns; ++j) {
    sums[j] = amx::Tiles::flushed(amx::Tiles::flushed(sums[j]) + static_cast<float>(exact[j]));
  }
}

struct Registers {
  template <class Shapes>
  static void configure(const Shapes* shapes) {
    tiles().configure(*shapes);
  }
  static void release() { tiles().release(); }
  template <int t>
  static void zero() {
    tiles().zero(t);
  }
  template <int t>
  static void load(const void* from, std::int64_t stride) {
    tiles().load(t, from, stride);
  }
  template <int t>
  static void store(void* to, std::int64_t stride) {
    tiles().store(t, to, stride);
  }
  template <int c, int a, int b>
  static void add_bytes() {
    add<std::uint32_t>(tiles().operands(c, a, b), add_bytes_to);
  }
  template <int c, int a, int b>
  static void add_halves() {
    add<float>(tiles().operands(c, a, b), add_halves_to);
  }
  template <int c, int a, int b>
  static void add_e4m3() {
    add<float>(tiles().operands(c, a, b), add_codes_to);
  }
  template <class Sum>
  static void add(const amx::Tiles::Operands& o,
                  void (*to)(Sum (&)[kColumns], const char*, const amx::Tiles::Tile&)) {
    for (std::size_t r = 0; r < o.c.rows; ++r) {
      Sum sums[kColumns];
      std::memcpy(sums, o.c.data[r].data(), sizeof(sums));
      to(sums, o.a.data[r].data(), o.b);
      std::memcpy(o.c.data[r].data(), sums, sizeof(sums));
    }
  }
};

#include "backends/cpu/kernels/amx_kernels-inl.hpp"
OCTAVO_ISA_END

}  // namespace

extern const cpu::AmxKernels kSimulatedAmx = kAmxKernels;

}  // namespace octavo::test
#endif
