// SPDX-License-Identifier: Apache-2.0
// A product by mma.sync through the simulator, and what it must give.
#pragma once

#include "backends/cuda/kernels/mma.hpp"
#include "full_epilogue_kit.hpp"

namespace octavo::test {

using cuda::Mma;
using cuda::MmaTile;

/// The kernel, with what DenseProblem asks of one.
template <MmaType type, MmaTile tile, bool outliers = false>
struct TestedMma : Mma<type, tile, outliers> {
  static constexpr int kOutBytes = 4, kParts = 1, kCluster = 1;
  static constexpr bool kPromoted = false, kScaled = false;
  static constexpr std::uint32_t kRegisters = 128;
};

/// Elements of fp8 as fp16, in the order in which the kernel adds them: 0 and 1 of every four of
/// 32, then 2 and 3.
inline std::vector<std::uint8_t> as_halves(const std::uint8_t* codes, std::size_t count,
                                           DType format) {
  std::vector<std::uint8_t> halves;
  for (std::size_t step = 0; step < count; step += 32) {
    for (std::size_t i = 0; i < 32; ++i) {
      float value = 0;
      const std::uint8_t code = codes[step + i % 16 / 2 * 4 + i / 16 * 2 + i % 2];
      cuda::with_codec(format, [&]<std::size_t row>(cuda::Codec<row>) {
        if constexpr (cuda::Codec<row>::kKind == DTypeKind::float8)
          value = cuda::Codec<row>::decode(code);
      });
      const std::uint32_t half = encode<kFloat16>(value, Overflow::ieee);
      halves.push_back(static_cast<std::uint8_t>(half));
      halves.push_back(static_cast<std::uint8_t>(half >> 8));
    }
  }
  return halves;
}

/// One element's sum: a chain of steps from k = 0. Rows of whole steps of 32 bytes.
inline std::uint32_t chained_sum(
    MmaType type, std::vector<std::uint8_t> a, std::vector<std::uint8_t> b,
    cuda::simulator::TensorUnit unit = cuda::simulator::TensorUnit::mma_sync) {
  if (!cuda::is_integer(type) && !cuda::is_half(type)) {
    const auto e5m2_if = [](bool is) { return is ? DType::float8_e5m2 : DType::float8_e4m3fn; };
    a = as_halves(a.data(), a.size(),
                  e5m2_if(type == MmaType::e5m2_e4m3 || type == MmaType::e5m2_e5m2));
    b = as_halves(b.data(), b.size(),
                  e5m2_if(type == MmaType::e4m3_e5m2 || type == MmaType::e5m2_e5m2));
    type = MmaType::f16_f16;
  }
  std::uint32_t bits = 0;
  for (std::size_t step = 0; step < a.size(); step += 32)
    cuda::simulator::multiply_step(unit, type, &a[step], 1, &b[step], 1, &bits);
  return bits;
}

template <MmaType type, MmaTile tile, bool outliers = false>
struct MmaProblem : DenseProblem<TestedMma<type, tile, outliers>> {
  using Base = DenseProblem<TestedMma<type, tile, outliers>>;
  using Base::Base;
  using Sum = typename Base::Sum;

  cuda::MmaParams full_params() {
    cuda::MmaParams p;
    p.a = this->a.row(0);
    p.b = this->b.row(0);
    p.pitch_a = this->a.row(1) - this->a.row(0);
    p.pitch_b = this->b.row(1) - this->b.row(0);
    p.m = this->m;
    p.n = this->n;
    p.k_bytes = this->k * Base::kBytes;
    return p;
  }
  Sum sum_of(int row, int column) {
    const auto line = [&](ByteMatrix& x, int r) {
      const int bytes = this->k * Base::kBytes;
      std::vector<std::uint8_t> whole(x.row(r), x.row(r) + bytes);
      whole.resize(static_cast<std::size_t>((bytes + 31) / 32 * 32));
      return whole;
    };
    return std::bit_cast<Sum>(chained_sum(type, line(this->a, row), line(this->b, column), unit));
  }

  cuda::simulator::TensorUnit unit = cuda::simulator::TensorUnit::mma_sync;
};

}  // namespace octavo::test
