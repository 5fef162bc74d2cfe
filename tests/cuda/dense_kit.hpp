// SPDX-License-Identifier: Apache-2.0
// A dense product through the simulator, and what it must give.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "backends/cuda/kernels/dense.hpp"
#include "backends/cuda/simulator/arithmetic.hpp"
#include "octavo/numeric.hpp"
#include "simulator_kit.hpp"

namespace octavo::test {

using cuda::Dense;
using cuda::DenseOut;
using cuda::DenseParams;
using cuda::MmaType;
using cuda::Summing;

/// Operands, factors and output of out[M, N] = A[M, K] B[N, K]^T, in elements of one byte.
template <MmaType type, Summing summing = Summing::plain, int cluster_rows = 2, int parts = 1>
struct DenseProblem {
  using Kernel = Dense<type, summing, 2, cluster_rows, parts>;

  DenseProblem(int m_, int n_, int k_, std::uint32_t seed = 1)
      : m(m_), n(n_), k(k_), a(m_, k_), b(n_, k_), out(m_, 2 * std::int64_t{n_}) {
    std::mt19937 random(seed * 7919 + static_cast<std::uint32_t>(m * 31 + n * 7 + k));
    const auto code = [&] {
      const auto byte = static_cast<std::uint8_t>(random());
      if (cuda::is_integer(type)) return byte;
      // Finite codes of both types, of every magnitude.
      return static_cast<std::uint8_t>((byte & 0x7C) == 0x7C ? byte ^ 0x40 : byte);
    };
    for (int r = 0; r < m; ++r)
      for (int c = 0; c < k; ++c) a.at(r, c) = code();
    for (int r = 0; r < n; ++r)
      for (int c = 0; c < k; ++c) b.at(r, c) = code();
    std::uniform_real_distribution<float> factor(0.001F, 0.02F);
    for (int r = 0; r < m; ++r) scale_a.push_back(factor(random));
    for (int r = 0; r < n; ++r) scale_b.push_back(factor(random));
    for (int r = 0; r < n; ++r) bias.push_back(factor(random) * 100 - 1);
  }

  DenseParams<TensorMap> params() {
    DenseParams<TensorMap> p;
    p.a = a.map(Kernel::kRows);
    p.b = b.map(Kernel::kRowsOfB);
    p.out = out.map(Kernel::kWarpgroupRows, Swizzle::bytes_128, Kernel::kPanelColumns);
    p.out.element_bytes = 2;
    p.out.extent[0] = n;
    p.m = m;
    p.n = n;
    p.k_bytes = k;
    p.chunk_steps = chunk_steps();
    p.out_type = DenseOut::bf16;
    p.epilogue.scale_a = {scale_a.data(), 1};
    p.epilogue.scale_b = {scale_b.data(), 1};
    p.epilogue.bias = {bias.data(), 1};
    return p;
  }

  /// The tensor cores' arithmetic, written down plainly.
  cuda::Accumulator<type> sum_of(int row, int column) {
    std::vector<std::uint8_t> x(static_cast<std::size_t>(k + 31) / 32 * 32), y(x.size());
    std::memcpy(x.data(), a.row(row), static_cast<std::size_t>(k));
    std::memcpy(y.data(), b.row(column), static_cast<std::size_t>(k));
    // Chains of steps: of 128 elements where sums are promoted, else of a chunk; chunks in order.
    const std::size_t chunk = static_cast<std::size_t>(chunk_steps()) * 128;
    const std::size_t chain = summing == Summing::promoted ? 128 : chunk;
    using Sum = cuda::Accumulator<type>;
    Sum sum = 0;
    for (std::size_t begin = 0; begin < x.size(); begin += chunk) {
      Sum of_chunk = 0;
      for (std::size_t link = begin; link < std::min(begin + chunk, x.size()); link += chain) {
        std::uint32_t bits = 0;
        for (std::size_t step = link; step < std::min(link + chain, x.size()); step += 32)
          cuda::simulator::multiply_step(cuda::simulator::TensorUnit::wgmma, type, &x[step], 1,
                                         &y[step], 1, &bits);
        of_chunk += std::bit_cast<Sum>(bits);
      }
      sum += of_chunk;
    }
    return sum;
  }
  /// Section 3 of such a sum.
  std::uint16_t expected(int row, int column) {
    const auto sum = sum_of(row, column);
    volatile float t = static_cast<float>(sum);  // each step is rounded by itself
    t = t * scale_a[static_cast<std::size_t>(row)];
    t = t * scale_b[static_cast<std::size_t>(column)];
    t = t + bias[static_cast<std::size_t>(column)];
    return static_cast<std::uint16_t>(encode<kBFloat16>(t, Overflow::ieee));
  }
  std::uint16_t got(int row, int column) {
    std::uint16_t bits;
    std::memcpy(&bits, out.row(row) + 2 * column, 2);
    return bits;
  }
  void poison() {
    for (int r = 0; r < m; ++r) std::memset(out.row(r), 0xEE, 2 * static_cast<std::size_t>(n));
  }

  static Launch launch(std::uint32_t clusters) {
    Launch launch;
    launch.cluster = Kernel::kCluster;
    launch.blocks = clusters * launch.cluster;
    launch.threads = Kernel::kThreads;
    launch.registers = Kernel::kRegisters;
    launch.shared_bytes = Kernel::kSharedBytes;
    return launch;
  }

  int chunk_steps() const {
    const int steps = (k + 127) / 128, chunks = parts > 1 ? parts : chunks_of_k;
    return (steps + chunks - 1) / chunks;
  }

  int m, n, k;
  int chunks_of_k = 1;  ///< of a kernel that does not cut K
  ByteMatrix a, b, out;
  std::vector<float> scale_a, scale_b, bias;
};

}  // namespace octavo::test
