// SPDX-License-Identifier: Apache-2.0
// A machine that adds pairs of products of bfloat16 as Arm does, for any CPU: bfmmla in plain C++,
// on panels of steps of four, and bfdot for few rows, in the tiles that Arm's kernels are. Integers
// and float32 are the plain machine's; weights of fewer bits become wider in tiles of their own
// (widened_plain.cpp).
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <utility>

#include "arm_instructions.hpp"
#include "backends/cpu/kernels/isa_region.hpp"
#include "backends/cpu/kernels/tile_contract.hpp"

namespace octavo::test {

extern const cpu::DotMachine kPlainMachine;
extern const cpu::WideningKernels kUnpackedWidening;
extern const cpu::WideningKernels kUnpackedInt8Pairs;

namespace {

using cpu::DotTile;
using cpu::kPanelVectors;

constexpr std::array<std::int64_t, kPanelVectors> kMaxRows{3, 2, 1, 1};
constexpr std::int64_t kWidth = 1;

#include "backends/cpu/kernels/vec/lanes-inl.hpp"
#include "backends/cpu/kernels/vec/vec_plain-inl.hpp"

struct HalvesDot {
  static constexpr bool kExact = false;
  static constexpr bool kFlips = false;
  using Left = arm::Halves;
  using Right = arm::Halves;
  using Sum = arm::Floats;
  using Row = Vec::Floats;
  static Right right(const char* b) {
    Right halves;
    std::memcpy(halves.data(), b, sizeof(halves));
    return halves;
  }
  static Sum zero() { return {}; }
  static const Row& floats(const Row& row) { return row; }
  // Sums that were flushed lose their sign.
  static Row row_of(const float (&columns)[16]) {
    return Vec::add(Vec::load_unaligned_floats(columns), Vec::broadcast(0.0F));
  }
};

namespace fours {
struct Dot : HalvesDot {
  static constexpr int kTogether = 2;
  static constexpr int kLeftBytes = 8;
  static constexpr int kStep = 8;
  static constexpr int kWidened = 1;
  static constexpr int kLoads = 8;
  static constexpr int kLoadBytes = 16;
  static constexpr int kSums = 8;
  static constexpr int kMostVectors = 1;
  template <bool, bool both>
  static Left left(const char* a, const char* other) {
    Left rows{};
    std::memcpy(rows.data(), a, 8);
    if (both) std::memcpy(rows.data() + 4, other, 8);
    return rows;
  }
  template <int, int>
  static Sum add(const Sum& sum, const Left& a, const Right& b) {
    return arm::bfmmla(sum, a, b);
  }
  template <bool both>
  static void put(Sum* sums, const void* c, const void* other) {
    for (std::size_t i = 0; i < 8; ++i) {
      std::memcpy(sums[i].data(), static_cast<const char*>(c) + 8 * i, 8);
      if (both) std::memcpy(sums[i].data() + 2, static_cast<const char*>(other) + 8 * i, 8);
    }
  }
  template <std::size_t r>
  static Row row(const Sum* sums) {
    float columns[16];
    for (std::size_t j = 0; j < 16; ++j) columns[j] = sums[j / 2][2 * r + j % 2];
    return row_of(columns);
  }
};
#include "backends/cpu/kernels/tile/dot_tile_registers-inl.hpp"
}  // namespace fours

namespace pairs {
struct Dot : HalvesDot {
  static constexpr int kTogether = 1;
  static constexpr int kLeftBytes = 16;
  static constexpr int kStep = 4;
  static constexpr int kWidened = 1;
  static constexpr int kLoads = 4;
  static constexpr int kLoadBytes = 16;
  static constexpr int kSums = 4;
  static constexpr int kMostVectors = kPanelVectors;
  template <bool, bool>
  static Left left(const char* a, const char*) {
    return right(a);
  }
  template <int step, int>
  static Sum add(const Sum& sum, const Left& a, const Right& b) {
    return arm::bfdot(sum, b, a, step);
  }
  template <bool>
  static void put(Sum* sums, const void* c, const void*) {
    std::memcpy(sums, c, 64);
  }
  template <std::size_t>
  static Row row(const Sum* sums) {
    float columns[16];
    std::memcpy(columns, sums, 64);
    return row_of(columns);
  }
};
#include "backends/cpu/kernels/tile/dot_tile_registers-inl.hpp"
}  // namespace pairs

// A number that bfloat16 holds.
std::uint16_t half_of(float number) {
  return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(number) >> 16);
}

// Rows of bfloat16 as a panel: value(k, j) of the first `depth` of them, zeros in the others up to
// a multiple of `rows` and of the panel's step.
template <std::int64_t step, class Value>
void fill(void* panel, std::int64_t vectors, std::int64_t depth, std::int64_t rows,
          const Value& value) {
  rows = std::max(rows, step);
  for (std::int64_t k = 0; k < (depth + rows - 1) / rows * rows; ++k) {
    for (std::int64_t j = 0; j < vectors * 16; ++j) {
      const std::uint16_t half = k < depth ? value(k, j) : std::uint16_t{0};
      const std::int64_t place = (k / step * vectors * 16 + j) * step + k % step;
      std::memcpy(static_cast<char*>(panel) + place * 2, &half, sizeof(half));
    }
  }
}

std::uint16_t decoded(const cpu::Float8Table& table, std::uint8_t code) {
  if (code == 0x80 && table.negative_zero_is_nan) return 0x7FC0;
  const std::size_t magnitude = code & 0x7FU;
  return static_cast<std::uint16_t>(table.low[magnitude] | table.high[magnitude] << 8 |
                                    (code & 0x80) << 8);
}

template <class Element>
Element element_at(const void* place, std::int64_t index) {
  Element element;  // at any address
  std::memcpy(&element, static_cast<const char*>(place) + index * std::int64_t{sizeof(element)},
              sizeof(element));
  return element;
}

template <std::int64_t step>
void pack(const cpu::PackPiece& p) noexcept {
  const bool wide = p.dtype == DType::bfloat16;
  const auto value = [&](std::int64_t k, std::int64_t j) {
    if (j >= p.columns) return std::uint16_t{0};
    const std::int64_t place = k * p.stride_k + j * p.stride_n;
    if (wide) return element_at<std::uint16_t>(p.b, place);
    if (p.dtype == DType::int8) return half_of(element_at<std::int8_t>(p.b, place));
    return decoded(*p.table, element_at<std::uint8_t>(p.b, place));
  };
  fill<step>(p.panel, (p.columns + 15) / 16, p.depth, wide ? 2 : 4, value);
}

template <std::int64_t step>
void pack_rows(const float* rows, std::int64_t depth, std::int64_t vectors, void* panel) noexcept {
  fill<step>(panel, vectors, depth, 2, [&](std::int64_t k, std::int64_t j) {
    return half_of(rows[(j / 16 * depth + k) * 16 + j % 16]);
  });
}

template <std::int64_t step>
void decode_int8(const void* codes, std::int64_t steps, std::int64_t vectors,
                 void* panel) noexcept {
  fill<step>(panel, vectors, steps * 4, 4, [&](std::int64_t k, std::int64_t j) {
    const std::int64_t place = (k / 4 * vectors * 16 + j) * 4 + k % 4;
    return half_of(element_at<std::int8_t>(codes, place));
  });
}

template <std::int64_t step>
void decode_float8(const cpu::Float8Table& table, const void* codes, std::int64_t steps,
                   std::int64_t code_vectors, std::int64_t vectors, void* panel) noexcept {
  fill<step>(panel, vectors, steps * 2, 2, [&](std::int64_t k, std::int64_t j) {
    const std::int64_t column = j / 32 * 64 + j % 16 / 4 * 16 + j / 16 % 2 * 8 + j % 4 * 2;
    const std::int64_t place = k / 2 * code_vectors * 32 + column + k % 2;
    return decoded(table, element_at<std::uint8_t>(codes, place));
  });
}

void from_pairs(DType, const void* halves, std::int64_t steps, std::int64_t vectors,
                void* panel) noexcept {
  fill<4>(panel, vectors, steps * 2, 4, [&](std::int64_t k, std::int64_t j) {
    const std::int64_t place = (k / 2 * vectors * 16 + j) * 2 + k % 2;
    return element_at<std::uint16_t>(halves, place);
  });
}

constexpr cpu::DotKernels kFours{
    .how = "3x16 tile, plain C++, blocks of bfloat16, float32 sums of pairs",
    .form = cpu::kBf16FoursForm,
    .max_rows = kMaxRows,
    .tile = &fours::find_dot_tile,
    .pack = &pack<4>,
    .pack_rows = &pack_rows<4>,
    .decode_int8 = &decode_int8<4>,
    .decode_float8 = &decode_float8<4>,
    .width = kWidth,
    .from_pairs = &from_pairs,
};

constexpr cpu::DotKernels kPairs{
    .how = "3x16 tile, plain C++, pairs of bfloat16, float32 sums of pairs",
    .form = cpu::kBf16Form,
    .max_rows = kMaxRows,
    .tile = &pairs::find_dot_tile,
    .pack = &pack<2>,
    .pack_rows = &pack_rows<2>,
    .decode_int8 = &decode_int8<2>,
    .decode_float8 = &decode_float8<2>,
    .width = kWidth,
};

}  // namespace

extern const cpu::DotMachine kPairsMachine{
    .name = "plain C++, pairs of bfloat16",
    .integers = kPlainMachine.integers,
    .pairs = &kFours,
    .floats = kPlainMachine.floats,
    .few_pairs = &kPairs,
    .beside_floats = &kUnpackedWidening,
    .beside_pairs = &kUnpackedInt8Pairs,
};

}  // namespace octavo::test
