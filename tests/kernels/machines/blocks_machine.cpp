// SPDX-License-Identifier: Apache-2.0
// A machine that multiplies blocks, for any CPU: smmla in plain C++ in each quad of a register of
// two, as SVE's of 256 bits, in the tiles that Arm's kernels are, on panels of steps of eight; few
// rows are the plain machine's.
#include <cstring>
#include <type_traits>
#include <utility>

#include "arm_instructions.hpp"
#include "backends/cpu/kernels/isa_region.hpp"
#include "backends/cpu/kernels/tile_contract.hpp"

namespace octavo::test {

extern const cpu::DotMachine kPlainMachine;

namespace {

using cpu::DotTile;
using cpu::kPanelVectors;

constexpr std::array<std::int64_t, kPanelVectors> kMaxRows{5, 4, 2, 1};
constexpr std::int64_t kWidth = 2;
constexpr int kMostVectors = 2;
constexpr std::int64_t kEight = cpu::kEightsForm.step;

#include "vec_quads-inl.hpp"
// What follows is on its `Part`s.
#include "backends/cpu/kernels/tile/eights_dot-inl.hpp"

struct Dot : ByteEightsDot<kMostVectors> {
  template <int, int>
  static Sum add(Sum sum, const Left& a, const Right& b) {
    for (std::size_t q = 0; q < sum.size(); ++q) sum[q] = arm::smmla(sum[q], a[q], b[q]);
    return sum;
  }
};
#include "backends/cpu/kernels/tile/dot_tile_registers-inl.hpp"

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
    .dot =
        {
            .how = "4x32 tile, plain C++, blocks of signed bytes, exact int32 sums",
            .form = cpu::kEightsForm,
            .max_rows = kMaxRows,
            .tile = &find_dot_tile,
            .pack = &pack_eights,
            .decode_int8 = &decode_eights,
            .width = kWidth,
        },
    .rows = cpu::ARows::signed_bytes,
};

}  // namespace

extern const cpu::DotMachine kBlocksMachine{
    .name = "plain C++, blocks",
    .integers = &kBlocks,
    .floats = kPlainMachine.floats,
    .few_rows = kPlainMachine.integers,
};

}  // namespace octavo::test
