// SPDX-License-Identifier: Apache-2.0
// A dense product through the simulator, and what it must give.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "backends/cuda/kernels/sm90/dense.hpp"
#include "cuda/machine/simulator_kit.hpp"
#include "octavo/numeric.hpp"
#include "simulator/arithmetic.hpp"

namespace octavo::test {

using cuda::Dense;
using cuda::DenseOut;
using cuda::DenseParams;
using cuda::MmaType;
using cuda::Summing;

/// Operands, factors and output of out[M, N] = A[M, K] B[N, K]^T for an instance of the kernel.
template <class Kernel_>
struct DenseProblem {
  using Kernel = Kernel_;
  using Sum = typename Kernel::Sum;
  static constexpr MmaType kType = Kernel::kType;
  static constexpr int kBytes = cuda::element_bytes(kType);  // of an element of K

  DenseProblem(int m_, int n_, int k_, std::uint32_t seed = 1)
      : m(m_),
        n(n_),
        k(k_),
        a(m_, std::int64_t{k_} * kBytes),
        b(n_, std::int64_t{k_} * kBytes),
        out(m_, std::int64_t{Kernel::kOutBytes} * n_) {
    std::mt19937 random(seed * 7919 + static_cast<std::uint32_t>(m * 31 + n * 7 + k));
    const auto fill = [&](ByteMatrix& matrix, int rows) {
      for (int r = 0; r < rows; ++r) {
        for (int c = 0; c < k * kBytes; ++c) {
          const auto byte = static_cast<std::uint8_t>(random());
          const bool high = kBytes == 1 || c % 2 == 1;  // sign and exponent
          const bool finite = cuda::is_integer(kType) || !high || (byte & 0x7C) != 0x7C;
          // 16-bit elements: of magnitudes about 1.
          const int code = kBytes == 2 && high ? (byte & 0x81) | 0x3C : finite ? byte : byte ^ 0x40;
          matrix.at(r, c) = static_cast<std::uint8_t>(code);
        }
      }
    };
    fill(a, m);
    fill(b, n);
    std::uniform_real_distribution<float> factor(0.001F, 0.02F);
    for (int r = 0; r < m; ++r) scale_a.push_back(factor(random));
    for (int r = 0; r < n; ++r) scale_b.push_back(factor(random));
    for (int r = 0; r < n; ++r) bias.push_back(factor(random) * 100 - 1);
    if (!Kernel::kScaled) return;
    std::uniform_real_distribution<float> near_one(0.25F, 4.0F);
    for (int i = 0; i < m * steps(); ++i) along_a.push_back(near_one(random));
    for (int i = 0; i < n * steps(); ++i) along_b.push_back(near_one(random));
  }

  DenseParams<TensorMap> params(DenseOut type = Kernel::kOutBytes == 2 ? DenseOut::bf16
                                                                       : DenseOut::f32) {
    DenseParams<TensorMap> p;
    p.a = map_of(a, Kernel::kRows, m, k, kBytes);
    p.b = map_of(b, Kernel::kRowsOfB, n, k, kBytes);
    p.out = map_of(out, Kernel::kRowsOfOut, m, n, Kernel::kOutBytes);
    p.m = m;
    p.n = n;
    p.k_bytes = k * kBytes;
    p.chunk_steps = chunk_steps();
    p.out_type = type;
    p.epilogue.scale_a = {scale_a.data(), 1};
    p.epilogue.scale_b = {scale_b.data(), 1};
    p.epilogue.bias = {bias.data(), 1};
    if (Kernel::kScaled) {
      p.k_scales.a = {along_a.data(), steps(), 1};
      p.k_scales.b = {along_b.data(), steps(), 1};
      p.k_scales.b.lines = columns_of_a_scale();
      p.k_scales.a.steps = p.k_scales.b.steps = 1;
    }
    return p;
  }

  /// For FullEpilogue, which has no factors yet.
  DenseParams<TensorMap> full_params() {
    DenseParams<TensorMap> p = params(DenseOut::full);
    p.out = {};
    p.epilogue = {};
    return p;
  }

  /// The tensor cores' arithmetic, written down plainly.
  Sum sum_of(int row, int column) {
    const auto bytes = static_cast<std::size_t>(k * kBytes);
    std::vector<std::uint8_t> x((bytes + 31) / 32 * 32), y(x.size());
    std::memcpy(x.data(), a.row(row), bytes);
    std::memcpy(y.data(), b.row(column), bytes);
    // Chains of steps: of 128 elements where sums are promoted, else of a chunk; chunks in order.
    const std::size_t chunk = static_cast<std::size_t>(chunk_steps()) * 128;
    const std::size_t chain = Kernel::kPromoted ? 128 : chunk;
    Sum sum = 0;
    for (std::size_t begin = 0; begin < x.size(); begin += chunk) {
      Sum of_chunk = 0;
      for (std::size_t link = begin; link < std::min(begin + chunk, x.size()); link += chain) {
        std::uint32_t bits = 0;
        for (std::size_t step = link; step < std::min(link + chain, x.size()); step += 32)
          cuda::simulator::multiply_step(cuda::simulator::TensorUnit::wgmma, kType, &x[step], 1,
                                         &y[step], 1, &bits);
        of_chunk += scaled(std::bit_cast<Sum>(bits), row, column, static_cast<int>(link / 128));
      }
      sum += of_chunk;
    }
    return sum;
  }
  /// A step's sum by its scales along K.
  Sum scaled(Sum sum, int row, int column, int step) const {
    if constexpr (Kernel::kScaled) {
      const auto at = [&](int line) { return static_cast<std::size_t>(line * steps() + step); };
      volatile float t = sum * along_a[at(row)];  // each step is rounded by itself
      t = t * along_b[at(column / columns_of_a_scale())];
      return t;
    }
    return sum;
  }
  /// The bits of section 3 of such a sum.
  std::uint32_t expected(int row, int column, DenseOut type = DenseOut::bf16) {
    const Sum sum = sum_of(row, column);
    if (type == DenseOut::sums) return std::bit_cast<std::uint32_t>(sum);
    volatile float t = static_cast<float>(sum);  // each step is rounded by itself
    t = t * scale_a[static_cast<std::size_t>(row)];
    t = t * scale_b[static_cast<std::size_t>(column)];
    t = t + bias[static_cast<std::size_t>(column)];
    if (type == DenseOut::f32) return std::bit_cast<std::uint32_t>(static_cast<float>(t));
    return type == DenseOut::bf16 ? encode<kBFloat16>(t, Overflow::ieee)
                                  : encode<kFloat16>(t, Overflow::ieee);
  }
  std::uint32_t got(int row, int column) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, out.row(row) + Kernel::kOutBytes * column, Kernel::kOutBytes);
    return bits;
  }
  void poison() {
    for (int r = 0; r < m; ++r)
      std::memset(out.row(r), 0xEE, static_cast<std::size_t>(Kernel::kOutBytes * n));
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

  int steps() const { return (k * kBytes + 127) / 128; }
  int chunk_steps() const {
    const int chunks = std::max(Kernel::kParts, chunks_of_k);
    return (steps() + chunks - 1) / chunks;
  }
  /// Blocks, or each its own.
  int columns_of_a_scale() const { return n > 128 ? 128 : 1; }

  int m, n, k;
  int chunks_of_k = 1;  ///< of a kernel that does not cut K
  ByteMatrix a, b, out;
  std::vector<float> scale_a, scale_b, bias;
  std::vector<float> along_a, along_b;  ///< [m, steps], [n, steps]: of Summing::scaled

 private:
  static TensorMap map_of(ByteMatrix& matrix, int box_rows, int rows, int columns, int bytes) {
    TensorMap map = matrix.map(box_rows, Swizzle::bytes_128, 128 / bytes);
    map.element_bytes = bytes;
    map.extent[0] = columns;
    map.extent[1] = rows;
    return map;
  }
};

/// Bit for bit what it must be, in three landings and so many seeds of each.
template <class Problem>
void expect_exact(Problem problem, std::uint32_t clusters, std::uint64_t seeds = 1,
                  DenseOut type = Problem::Kernel::kOutBytes == 2 ? DenseOut::bf16
                                                                  : DenseOut::f32) {
  const auto params = problem.params(type);
  const int m = problem.m, n = problem.n;
  std::vector<std::uint32_t> want;
  for (int r = 0; r < m; ++r)
    for (int c = 0; c < n; ++c) want.push_back(problem.expected(r, c, type));
  for (const Options& options : schedules(seeds)) {
    problem.poison();
    ASSERT_EQ("", fault_of(problem.launch(clusters), options,
                           [&](Machine machine) { Problem::Kernel::run(machine, params); }));
    for (int r = 0; r < m; ++r) {
      for (int c = 0; c < n; ++c) {
        ASSERT_EQ(want[static_cast<std::size_t>(r * n + c)], problem.got(r, c))
            << m << 'x' << n << 'x' << problem.k << " at " << r << ", " << c << ", seed "
            << options.seed;
      }
    }
  }
}

/// Every output that a kernel has: the usual one in three seeds of each landing, the other in one.
template <class Kernel>
void expect_every_output(const DenseProblem<Kernel>& problem, std::uint32_t clusters) {
  if constexpr (Kernel::kOutBytes == 2) {
    expect_exact(problem, clusters, 3, DenseOut::bf16);
    expect_exact(problem, clusters, 1, DenseOut::f16);
  } else {
    expect_exact(problem, clusters, 3, DenseOut::f32);
    if constexpr (cuda::is_integer(Kernel::kType))
      expect_exact(problem, clusters, 1, DenseOut::sums);
  }
}

}  // namespace octavo::test
