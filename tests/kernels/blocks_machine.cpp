// SPDX-License-Identifier: Apache-2.0
// A machine that multiplies blocks, for any CPU: smmla in plain C++, in the tiles that Arm's
// kernels are, on panels of steps of eight; few rows are the plain machine's.
//
//   a   row 0 [0 .. 7]  row 1 [0 .. 7]        sums   r0 c0  r0 c1  r1 c0  r1 c1
//   b   col 0 [0 .. 7]  col 1 [0 .. 7]
#include <cmath>
#include <cstring>
#include <type_traits>
#include <utility>

#include "arm_instructions.hpp"
#include "backends/cpu/kernels/dot.hpp"
#include "backends/cpu/kernels/isa_region.hpp"

namespace octavo::test {

extern const cpu::DotMachine kPlainMachine;

namespace {

using cpu::DotTile;
using cpu::kPanelVectors;

constexpr std::array<std::int64_t, kPanelVectors> kMaxRows{5, 2, 1, 1};
constexpr std::int64_t kWidth = 1;
constexpr std::int64_t kEight = cpu::kEightsForm.step;

#include "backends/cpu/kernels/lanes-inl.hpp"
#include "backends/cpu/kernels/vec_plain-inl.hpp"

struct Dot {
  static constexpr bool kExact = true;
  static constexpr bool kFlips = true;
  static constexpr int kTogether = 2;
  static constexpr int kLeftBytes = 8;
  static constexpr int kStep = 8;
  static constexpr int kLoads = 8;
  static constexpr int kSums = 8;
  static constexpr int kMostVectors = 1;
  using Left = arm::Bytes;
  using Right = arm::Bytes;
  using Sum = arm::Sums;
  using Row = Vec::Ints;
  template <bool flips, bool both>
  static Left left(const char* a, const char* other) {
    Left bytes{};
    std::memcpy(bytes.data(), a, 8);
    if (both) std::memcpy(bytes.data() + 8, other, 8);
    for (std::int8_t& byte : bytes) byte = static_cast<std::int8_t>(byte ^ (flips ? 0x80 : 0));
    return bytes;
  }
  static Right right(const char* b) {
    Right bytes;
    std::memcpy(bytes.data(), b, bytes.size());
    return bytes;
  }
  template <int, int>
  static Sum add(const Sum& sum, const Left& a, const Right& b) {
    return arm::smmla(sum, a, b);
  }
  static Sum zero() { return {}; }
  template <bool both>
  static void put(Sum* sums, const void* c, const void* other) {
    for (std::size_t i = 0; i < 8; ++i) {
      std::memcpy(sums[i].data(), static_cast<const char*>(c) + 8 * i, 8);
      if (both) std::memcpy(sums[i].data() + 2, static_cast<const char*>(other) + 8 * i, 8);
    }
  }
  template <std::size_t r>
  static Row row(const Sum* sums) {
    std::int32_t columns[16];
    for (std::size_t j = 0; j < 16; ++j) columns[j] = sums[j / 2][2 * r + j % 2];
    return Vec::load_unaligned_ints(columns);
  }
  static Vec::Floats floats(const Row& row) { return Vec::to_floats(row); }
};
#include "backends/cpu/kernels/dot_tile_registers-inl.hpp"

void pack_eights(const cpu::PackPiece& p) noexcept {
  const std::int64_t padded = (p.columns + 15) / 16 * 16;
  const auto* b = static_cast<const std::int8_t*>(p.b);
  auto* out = static_cast<std::int8_t*>(p.panel);
  for (std::int64_t step = 0; step < p.depth; step += kEight) {
    for (std::int64_t j = 0; j < padded; ++j) {
      for (std::int64_t k = step; k < step + kEight; ++k, ++out) {
        const bool inside = k < p.depth && j < p.columns;
        *out = inside ? b[k * p.stride_k + j * p.stride_n] : std::int8_t{0};
        p.sums[j] = arm::wrapped(p.sums[j], *out);
      }
    }
  }
}

// Steps of four; the last one perhaps without a second.
void decode_eights(const void* codes, std::int64_t steps, std::int64_t vectors,
                   void* panel) noexcept {
  const auto* from = static_cast<const char*>(codes);
  char* out = static_cast<char*>(panel);
  const std::int64_t row_bytes = vectors * 64;
  for (; steps > 0; steps -= 2, from += 2 * row_bytes) {
    for (std::int64_t j = 0; j < vectors * 16; ++j, out += kEight) {
      std::memset(out, 0, kEight);
      std::memcpy(out, from + j * 4, 4);
      if (steps > 1) std::memcpy(out + 4, from + row_bytes + j * 4, 4);
    }
  }
}

constexpr cpu::IntegerKernels kBlocks{
    {"5x16 tile, plain C++, blocks of signed bytes, exact int32 sums", nullptr, cpu::kEightsForm,
     kMaxRows, &find_dot_tile, &pack_eights, nullptr, &decode_eights, nullptr, nullptr, kWidth},
    cpu::ARows::signed_bytes,
    nullptr,
};

}  // namespace

extern const cpu::DotMachine kBlocksMachine{
    "plain C++, blocks", &kBlocks, nullptr, nullptr, kPlainMachine.floats, kPlainMachine.integers};

}  // namespace octavo::test
