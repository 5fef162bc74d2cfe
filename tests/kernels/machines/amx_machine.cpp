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
#include "backends/cpu/kernels/isa_region.hpp"
#include "backends/cpu/kernels/tile_contract.hpp"

#if defined(__x86_64__)
namespace octavo::test {
namespace {

thread_local std::int64_t shaped_for = 0;

#include "backends/cpu/kernels/panels/number_table-inl.hpp"

OCTAVO_ISA_BEGIN("avx512f,avx512bw,avx512vbmi,fma")
#include "backends/cpu/kernels/vec/vec_avx512-inl.hpp"

amx::Tiles& tiles() {
  thread_local amx::Tiles all;
  return all;
}

constexpr std::size_t kColumns = amx::Tiles::kBytes / 4;

// The elements of two tiles as numbers, read once for all sums of a product: element i of the words
// of 32 bits of a by [i][row][step of k], of b by [i][step][column].
template <class Number, int elements>
struct Elements {
  using Tile = Number[elements][amx::Tiles::kRows][kColumns];
  std::size_t steps;
  Tile a, b;

  template <class Read>
  Elements(const amx::Tiles::Operands& o, const Read& read) : steps(o.b.rows) {
    fill(a, o.a, read);
    fill(b, o.b, read);
  }

  template <class Read>
  static void fill(Tile& numbers, const amx::Tiles::Tile& tile, const Read& read) {
    for (std::size_t row = 0; row < tile.rows; ++row) {
      std::uint32_t words[kColumns];
      std::memcpy(words, tile.data[row].data(), sizeof(words));
      for (int i = 0; i < elements; ++i) {
        for (std::size_t j = 0; j < kColumns; ++j) numbers[i][row][j] = read(words[j], i);
      }
    }
  }
};

template <class Number>
void add_fours(Number (&sums)[kColumns], const Elements<Number, 4>& e, std::size_t row) {
  for (std::size_t step = 0; step < e.steps; ++step) {
    for (std::size_t i = 0; i < 4; ++i) {
      for (std::size_t j = 0; j < kColumns; ++j) sums[j] += e.a[i][row][step] * e.b[i][step][j];
    }
  }
}

// sums[j] += the products of a row's signed bytes and those of column j, whose sum float32 holds.
using ByteElements = Elements<float, 4>;
constexpr auto byte_of_word = [](std::uint32_t word, int i) {
  return static_cast<float>(static_cast<std::int32_t>(word << (24 - 8 * i)) >> 24);
};
void add_row(std::uint32_t (&sums)[kColumns], const ByteElements& e, std::size_t row) {
  float exact[kColumns] = {};
  add_fours(exact, e, row);
  for (std::size_t j = 0; j < kColumns; ++j) {
    sums[j] += static_cast<std::uint32_t>(static_cast<std::int32_t>(exact[j]));
  }
}

// even[j], odd[j] += a product, fused, for every step; then they are added to each other and to
// sums[j].
using HalfElements = Elements<float, 2>;
constexpr auto half_of_word = [](std::uint32_t word, int i) {
  return amx::Tiles::half(static_cast<std::uint16_t>(word >> 16 * i));
};
void add_row(float (&sums)[kColumns], const HalfElements& e, std::size_t row) {
  float even[kColumns] = {}, odd[kColumns] = {};
  for (std::size_t step = 0; step < e.steps; ++step) {
    for (std::size_t j = 0; j < kColumns; ++j) {
      even[j] = amx::Tiles::flushed(std::fma(e.a[0][row][step], e.b[0][step][j], even[j]));
      odd[j] = amx::Tiles::flushed(std::fma(e.a[1][row][step], e.b[1][step][j], odd[j]));
    }
  }
  for (std::size_t j = 0; j < kColumns; ++j) {
    const float pair = amx::Tiles::flushed(even[j] + odd[j]);
    sums[j] = amx::Tiles::flushed(amx::Tiles::flushed(sums[j]) + pair);
  }
}

// sums[j] += the products of a row's codes and those of column j: exact, rounded once.
using CodeElements = Elements<double, 4>;
constexpr auto code_of_word = [](std::uint32_t word, int i) {
  return double{code_values(DType::float8_e4m3fn)[word >> 8 * i & 0xFFU]};
};
void add_row(float (&sums)[kColumns], const CodeElements& e, std::size_t row) {
  double exact[kColumns] = {};
  add_fours(exact, e, row);
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
    add<std::uint32_t, ByteElements>(tiles().operands(c, a, b), byte_of_word);
  }
  template <int c, int a, int b>
  static void add_halves() {
    add<float, HalfElements>(tiles().operands(c, a, b), half_of_word);
  }
  template <int c, int a, int b>
  static void add_e4m3() {
    add<float, CodeElements>(tiles().operands(c, a, b), code_of_word);
  }
  template <class Sum, class Numbers, class Read>
  static void add(const amx::Tiles::Operands& o, const Read& read) {
    const Numbers elements(o, read);
    for (std::size_t r = 0; r < o.c.rows; ++r) {
      Sum sums[kColumns];
      std::memcpy(sums, o.c.data[r].data(), sizeof(sums));
      add_row(sums, elements, r);
      std::memcpy(o.c.data[r].data(), sums, sizeof(sums));
    }
  }
};

#include "backends/cpu/kernels/amx/amx_kernels-inl.hpp"
OCTAVO_ISA_END

}  // namespace

extern const cpu::AmxKernels kSimulatedAmx = kAmxKernels;

}  // namespace octavo::test
#endif
