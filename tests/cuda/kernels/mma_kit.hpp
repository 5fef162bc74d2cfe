// SPDX-License-Identifier: Apache-2.0
// A product by mma.sync through the simulator, and what it must give.
#pragma once

#include "backends/cuda/kernels/sm80/mma.hpp"
#include "full_epilogue_kit.hpp"

namespace octavo::test {

using cuda::Mma;
using cuda::MmaTerms;
using cuda::MmaTile;

/// The kernel, with what DenseProblem asks of one.
template <MmaType type, MmaTile tile, MmaTerms terms = MmaTerms::none>
struct TestedMma : Mma<type, tile, terms> {
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

/// Scales that change along K, of cells that begin before the matrix.
struct AlongK {
  AlongK(int lines_, int first_line_, int steps_, int first_step_, int rows, int k,
         std::uint32_t seed)
      : lines(lines_),
        first_line(first_line_),
        steps(steps_),
        first_step(first_step_),
        cells((first_step_ + (k + 31) / 32 + steps_ - 1) / steps_) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<float> near_one(0.25F, 4.0F);
    const int of_rows = (first_line + rows + lines - 1) / lines;
    for (int i = 0; i < of_rows * cells; ++i) values.push_back(near_one(random));
  }
  cuda::KScale scale() const {
    return {values.data(), cells, 1, 0, lines, first_line, steps, first_step};
  }
  float at(int line, int step) const {
    const int cell = (first_line + line) / lines * cells + (first_step + step) / steps;
    return values[static_cast<std::size_t>(cell)];
  }
  bool ends_behind(int step) const { return (first_step + step + 1) % steps == 0; }

  int lines, first_line, steps, first_step;  // of a cell; before the first
  int cells;                                 // along K
  std::vector<float> values;
};

template <MmaType type, MmaTile tile, MmaTerms terms = MmaTerms::none>
struct MmaProblem : DenseProblem<TestedMma<type, tile, terms>> {
  using Base = DenseProblem<TestedMma<type, tile, terms>>;
  using Sum = typename Base::Sum;
  static constexpr bool kScaled = terms == MmaTerms::k_scales;

  MmaProblem(int rows, int columns, int depth, std::uint32_t seed = 1)
      : Base(rows, columns, depth, seed),
        along_rows(1, 0, 2, 1, rows, depth, seed),
        along_columns(5, 2, 3, 0, columns, depth, seed + 1) {}

  cuda::MmaParams full_params() {
    cuda::MmaParams p;
    p.a = this->a.row(0);
    p.b = this->b.row(0);
    p.pitch_a = this->a.row(1) - this->a.row(0);
    p.pitch_b = this->b.row(1) - this->b.row(0);
    p.m = this->m;
    p.n = this->n;
    p.k_bytes = this->k * Base::kBytes;
    if (kScaled) p.k_scales = {along_rows.scale(), along_columns.scale()};
    return p;
  }
  Sum sum_of(int row, int column) {
    const auto line = [&](ByteMatrix& x, int r) {
      const int bytes = this->k * Base::kBytes;
      std::vector<std::uint8_t> whole(x.row(r), x.row(r) + bytes);
      whole.resize(static_cast<std::size_t>((bytes + 31) / 32 * 32));
      return whole;
    };
    const std::vector<std::uint8_t> x = line(this->a, row), y = line(this->b, column);
    if constexpr (!kScaled) {
      return std::bit_cast<Sum>(chained_sum(type, x, y, unit));
    } else {
      float total = 0;
      const int steps = static_cast<int>(x.size() / 32);
      for (int begin = 0, step = 0; step < steps; ++step) {
        if (!along_rows.ends_behind(step) && !along_columns.ends_behind(step) && step + 1 < steps)
          continue;
        const auto part = [&](const std::vector<std::uint8_t>& of) {
          return std::vector<std::uint8_t>(of.begin() + begin * 32, of.begin() + (step + 1) * 32);
        };
        using Part = typename Base::Kernel::Part;
        volatile float t =  // each step is rounded by itself
            static_cast<float>(std::bit_cast<Part>(chained_sum(type, part(x), part(y), unit)));
        t = t * along_rows.at(row, step);
        t = t * along_columns.at(column, step);
        total = total + t;
        begin = step + 1;
      }
      return total;
    }
  }

  AlongK along_rows, along_columns;

  cuda::simulator::TensorUnit unit = cuda::simulator::TensorUnit::mma_sync;
};

}  // namespace octavo::test
