// SPDX-License-Identifier: Apache-2.0
// Weights that become wider inside the tile, as Arm's kernels have them, in plain C++ for any CPU:
//
//   int8     [b0 b1 b2 b3] of a column    four steps of float32, two of pairs of bfloat16
//   16 bits  [b0 b1]                      two steps of float32
//
// A quad is four columns of a step; 16 bytes of a row of A are what their lanes meet.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <utility>

#include "arm_instructions.hpp"
#include "backends/cpu/kernels/isa_region.hpp"
#include "backends/cpu/kernels/tile_contract.hpp"
#include "octavo/numeric.hpp"

namespace octavo::test {
namespace {

using cpu::DotTile;
using cpu::kPanelVectors;

constexpr std::array<std::int64_t, kPanelVectors> kMaxRows{2, 2, 1, 1};
constexpr std::int64_t kWidth = 1;
constexpr std::int64_t kMostRows = 6;

#include "backends/cpu/kernels/vec/lanes-inl.hpp"
#include "backends/cpu/kernels/vec/vec_plain-inl.hpp"

template <class Register>
Register loaded(const char* p) {
  Register x;
  std::memcpy(x.data(), p, sizeof(x));
  return x;
}

// A step of B is `steps` of A, whose 16 bytes are `Lanes`.
template <int steps, class Lanes>
struct QuadsDot {
  static constexpr bool kExact = false;
  static constexpr bool kFlips = false;
  static constexpr int kTogether = 1;
  static constexpr int kLeftBytes = 16;
  static constexpr int kWidened = steps;
  static constexpr int kStep = 4 * steps;
  static constexpr int kLoads = 4;
  static constexpr int kLoadBytes = 16;
  static constexpr int kSums = 4;
  static constexpr int kMostVectors = kPanelVectors;
  using Left = Lanes;
  using Sum = arm::Floats;
  using Row = Vec::Floats;
  template <bool, bool>
  static Left left(const char* a, const char*) {
    return loaded<Left>(a);
  }
  static Sum zero() { return {}; }
  static const Row& floats(const Row& row) { return row; }
  template <bool>
  static void put(Sum* sums, const void* c, const void*) {
    std::memcpy(sums, c, 64);
  }
  template <std::size_t>
  static Row row(const Sum* sums) {
    return Vec::load_unaligned_floats(sums);
  }
};

// Beside float32.
template <int steps>
struct FloatsDot : QuadsDot<steps, arm::Floats> {
  template <int step, int>
  static arm::Floats add(arm::Floats sum, const arm::Floats& a, const arm::Floats& b) {
    for (std::size_t j = 0; j < 4; ++j) sum[j] = std::fma(a[step], b[j], sum[j]);
    return sum;
  }
};

namespace int8_floats {
struct Dot : FloatsDot<4> {
  using Right = arm::Bytes;
  static Right right(const char* b) { return loaded<Right>(b); }
  template <int step, int>
  static arm::Floats widened(const Right& b) {
    arm::Floats x;
    for (std::size_t j = 0; j < 4; ++j) x[j] = b[4 * j + step];
    return x;
  }
};
#include "backends/cpu/kernels/tile/dot_tile_registers-inl.hpp"
}  // namespace int8_floats

// Weights of 16 bits in a format of numeric.hpp.
template <FloatFormat format>
struct HalvesDot : FloatsDot<2> {
  using Right = arm::Halves;
  static Right right(const char* b) { return loaded<Right>(b); }
  template <int step, int>
  static arm::Floats widened(const Right& b) {
    arm::Floats x;
    for (std::size_t j = 0; j < 4; ++j) x[j] = decode<format>(b[2 * j + step]);
    return x;
  }
};

namespace bfloat16_floats {
struct Dot : HalvesDot<kBFloat16> {};
#include "backends/cpu/kernels/tile/dot_tile_registers-inl.hpp"
}  // namespace bfloat16_floats

namespace float16_floats {
struct Dot : HalvesDot<kFloat16> {};
#include "backends/cpu/kernels/tile/dot_tile_registers-inl.hpp"
}  // namespace float16_floats

namespace int8_pairs {
struct Dot : QuadsDot<2, arm::Halves> {
  using Right = arm::Bytes;
  static Right right(const char* b) { return loaded<Right>(b); }
  template <int step, int>
  static arm::Halves widened(const Right& b) {
    arm::Halves x;
    for (std::size_t i = 0; i < 8; ++i) {
      const float number = b[i / 2 * 4 + 2 * step + i % 2];
      x[i] = static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(number) >> 16);
    }
    return x;
  }
  template <int step, int>
  static Sum add(const Sum& sum, const Left& a, const arm::Halves& b) {
    return arm::bfdot(sum, b, a, step);
  }
  // Sums that were flushed lose their sign.
  template <std::size_t>
  static Row row(const Sum* sums) {
    return Vec::add(Vec::load_unaligned_floats(sums), Vec::broadcast(0.0F));
  }
};
#include "backends/cpu/kernels/tile/dot_tile_registers-inl.hpp"
}  // namespace int8_pairs

}  // namespace

extern const cpu::WideningKernels kUnpackedWidening{
    .int8 =
        {
            .dot =
                cpu::tiles_alone("2x16 tile, plain C++, int8 widened, float32 sums in ascending k",
                                 cpu::kInt8Form, kMaxRows, &int8_floats::find_dot_tile, kWidth),
            .most_rows = kMostRows,
        },
    .bfloat16 =
        {
            .dot = cpu::tiles_alone(
                "2x16 tile, plain C++, bfloat16 widened, float32 sums in ascending k",
                cpu::kBf16Form, kMaxRows, &bfloat16_floats::find_dot_tile, kWidth),
            .most_rows = kMostRows,
        },
    .float16 =
        {
            .dot = cpu::tiles_alone(
                "2x16 tile, plain C++, float16 widened, float32 sums in ascending k",
                cpu::kFloat16Form, kMaxRows, &float16_floats::find_dot_tile, kWidth),
            .most_rows = kMostRows,
        },
};

extern const cpu::WideningKernels kUnpackedInt8Pairs{
    .int8 =
        {
            .dot = cpu::tiles_alone("2x16 tile, plain C++, int8 widened, float32 sums of pairs",
                                    cpu::kInt8Form, kMaxRows, &int8_pairs::find_dot_tile, kWidth),
            .most_rows = kMostRows,
        },
    .bfloat16 = {},
    .float16 = {},
};

}  // namespace octavo::test
