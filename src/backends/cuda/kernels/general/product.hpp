// SPDX-License-Identifier: Apache-2.0
// One member in section 3's own arithmetic, whatever its types, scales, zero points and outliers:
// what no tensor-core kernel takes, with the reference's bits.
//
//   part(i, j) = sum over a cell's k, ascending, of A[i, k] * (B[k, j] - azp_b)   in float32, or
//                sum of (A[i, k] - azp_a) * (B[k, j] - azp_b)       of integers, exactly
//   t(i, j)    = sum over cells of K, ascending, of part * the scales that vary along K; of several
//                chunks of K, of each apart, and these in their order
//   out        = epilogue(t)                                                  (finishing.hpp)
//
// A CTA makes 64 x 64 sums (product_tile.hpp), which then lie in shared memory, from where threads
// finish them in the output's order.
#pragma once

#include <bit>

#include "backends/cuda/kernels/common/finishing.hpp"
#include "backends/cuda/kernels/common/outlier_terms.hpp"
#include "backends/cuda/kernels/general/product_tile.hpp"

namespace octavo::cuda {

struct ProductKernel {
  using Params = ProductParams;
  using Shared = ProductShared;
  static constexpr std::uint32_t kThreads = Shared::kThreads, kSharedBytes = Shared::kBytes;

  static std::int64_t pieces(const Params& p) noexcept { return tiles(p.m) * tiles(p.n); }

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const Params& p) {
    const std::int64_t across = tiles(p.n), count = tiles(p.m) * across;
    for (std::int64_t piece = m.block(); piece < count; piece += m.blocks()) {
      const std::int64_t row = piece / across * Shared::kTile;
      const std::int64_t column = piece % across * Shared::kTile;
      if (p.integers) {
        ProductTile<Machine, true>(m, p, row, column).run();
      } else {
        ProductTile<Machine, false>(m, p, row, column).run();
      }
      m.sync_named(1, kThreads);
      finish(m, p, row, column);
      m.sync_named(1, kThreads);  // the sums have been read
    }
  }

 private:
  OCTAVO_HOST_DEVICE static std::int64_t tiles(std::int64_t extent) {
    return (extent + Shared::kTile - 1) / Shared::kTile;
  }

  template <class Machine>
  OCTAVO_DEVICE static void finish(Machine& m, const Params& p, std::int64_t row,
                                   std::int64_t column) {
    const MatrixView& out = p.product.out;
    const auto distance = [](std::int64_t stride) { return stride < 0 ? -stride : stride; };
    const bool down = distance(out.strides[0]) < distance(out.strides[1]);
    const Finishing finishing(m, p.product, p.k == 0, p.torch_compat);
    const OutlierTerms terms(p.product, p.outlier_chunks, p.k == 0);
    for (std::uint32_t e = m.tid(); e < Shared::kTile * Shared::kTile; e += kThreads) {
      const std::uint32_t outer = e / Shared::kTile, inner = e % Shared::kTile;
      const std::uint32_t r = down ? inner : outer, c = down ? outer : inner;
      const std::int64_t i = row + r, j = column + c;
      if (i >= p.m || j >= p.n) continue;
      const auto sum = m.template load_shared<std::uint32_t>(m.shared_base() + Shared::kSums +
                                                             (r * Shared::kPitch + c) * 4);
      if (p.exact) {
        auto* to = static_cast<std::int32_t*>(out.data) + i * out.strides[0] + j * out.strides[1];
        m.store_global(to, static_cast<std::int32_t>(sum));
        continue;
      }
      const float y = finishing.finish(m, std::bit_cast<float>(sum), finishing.row(m, i),
                                       finishing.column(m, j), outliers(m, terms, i, j), i, j);
      write_float(m, out, i, j, y, p.overflow);
    }
  }

  template <class Machine>
  OCTAVO_DEVICE static OutlierSums outliers(Machine& m, const OutlierTerms& terms, std::int64_t i,
                                            std::int64_t j) {
    float total = 0.0F, sum = 0.0F;
    ChunkAtHand chunk = terms.first_chunk();
    std::int64_t index = 0;
    for (std::int64_t k = 0; (k = terms.column(m, index)) >= 0; ++index) {
      if (chunk.pass(k)) {
        total += sum;
        sum = 0.0F;
      }
      terms.add(terms.left(m, i, k), terms.in_all_rows(m, k), terms.right(m, k, j), sum);
    }
    total += sum;
    return terms.sums(index > 0, total);
  }
};

}  // namespace octavo::cuda
