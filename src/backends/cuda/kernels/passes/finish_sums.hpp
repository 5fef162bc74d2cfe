// SPDX-License-Identifier: Apache-2.0
// Section 3 from exact sums of products of codes on, with zero points and outliers:
//
//   s[i, j]   = the sum of codes less zero points                         (zero_point_terms.hpp)
//   out[i, j] = cast(epilogue(float(s) ...)) with the outlier term        (finishing.hpp,
//               or s itself, saturated to int32                            outlier_terms.hpp)
//
//   a piece as FinishKernel's, `depth` outputs of a thread. Their outlier sums come first, 16
//   listed columns at a time:
//
//     thread t brings what line t % 16 has of listed column t / 16 (an element of A; of B, where
//     neighbours are rows) to shared memory; each thread brings its own place's, and adds 16
//     products
//
//   shared memory:   kStaged [16 columns][16 lines]       kOutliers [16 lines][256 threads], in the
//                    of which all threads read the same   end: each thread's own sums
#pragma once

#include "backends/cuda/kernels/common/outlier_terms.hpp"
#include "backends/cuda/kernels/common/zero_point_terms.hpp"
#include "backends/cuda/kernels/passes/finish.hpp"

namespace octavo::cuda {

struct FinishSumsKernel {
  struct Params {
    MatrixView sums;  ///< int32
    Member product;
    CodeSums codes;
    ChunkSteps chunks;  ///< of outlier sums
    Plane plane;
    std::int64_t depth = 1;  ///< at most kMostDepth
    Overflow overflow = Overflow::saturate;
    bool empty = false;  ///< K = 0
    bool torch_compat = false;
  };
  static constexpr int kMostDepth = 16;
  static constexpr std::uint32_t kThreads = FinishPieces::kThreads;
  static constexpr std::uint32_t kStaged = 0, kOutliers = kThreads * 4;
  static constexpr std::uint32_t kSharedBytes = kOutliers + kMostDepth * kThreads * 4;

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const Params& p) {
    const Plane& plane = p.plane;
    const FinishPieces pieces(plane, p.depth);
    const Finishing finishing(m, p.product, p.empty, p.torch_compat);
    const ZeroPointTerms zero_points(p.product, p.codes);
    const OutlierTerms outliers(p.product, p.chunks, p.empty);
    each_piece(m, pieces.count(), [&](std::int64_t piece) {
      const std::int64_t place = pieces.place(piece, m.tid());
      const std::int64_t begin = pieces.begin(piece), end = pieces.end(piece);
      const bool inside = place < pieces.length;
      const bool any = put_outliers(m, outliers, plane.down, {inside ? place : 0, begin, end});
      if (!inside) return;
      const auto outlier = [&](std::int64_t line) {
        return outliers.sums(any, any ? m.template load_shared<float>(at(m, line - begin)) : 0.0F);
      };
      if (plane.down) {
        const RowTerms row = finishing.row(m, place);
        const ZeroPointTerms::Line line = zero_points.row(m, place);
        for (std::int64_t j = begin; j < end; ++j) {
          const std::int64_t sum = exact(m, p, line, zero_points.column(m, j), place, j);
          write(m, p, finishing, sum, row, finishing.column(m, j), outlier(j), place, j);
        }
      } else {
        const ColumnTerms column = finishing.column(m, place);
        const ZeroPointTerms::Line line = zero_points.column(m, place);
        for (std::int64_t i = begin; i < end; ++i) {
          const std::int64_t sum = exact(m, p, zero_points.row(m, i), line, i, place);
          write(m, p, finishing, sum, finishing.row(m, i), column, outlier(i), i, place);
        }
      }
    });
  }

 private:
  // A thread's outputs: of one place along the neighbours, lines [begin, end).
  struct Outputs {
    std::int64_t place, begin, end;
  };
  struct alignas(16) Four {
    float of_line[4];
  };
  static constexpr int kLines = kMostDepth, kColumns = kThreads / kLines;

  // Where the thread keeps the outlier sum of one of its outputs.
  template <class Machine>
  OCTAVO_DEVICE static std::uint32_t at(Machine& m, std::int64_t line) {
    return m.shared_base() + kOutliers +
           (static_cast<std::uint32_t>(line) * kThreads + m.tid()) * 4;
  }

  // All threads together. Whether there are any.
  template <class Machine>
  OCTAVO_DEVICE static bool put_outliers(Machine& m, const OutlierTerms& terms, bool down,
                                         const Outputs& outputs) {
    if (terms.column(m, 0) < 0) return false;
    float sums[kLines] = {};
    ChunkAtHand chunk = terms.first_chunk();
    OCTAVO_UNROLL
    for (int line = 0; line < kLines; ++line) m.store_shared(at(m, line), 0.0F);
    bool more = true;
    for (std::int64_t first = 0; more; first += kColumns) {
      stage(m, terms, down, outputs, first);
      for (int c = 0; c < kColumns; ++c) {
        const std::int64_t k = terms.column(m, first + c);
        more = k >= 0;
        if (!more) break;
        if (chunk.pass(k)) end_chunk(m, sums);
        add_column(m, terms, down, outputs.place, k, c, sums);
      }
    }
    end_chunk(m, sums);
    return true;
  }

  // Sums of a chunk of K to those before it; the next one's begin.
  template <class Machine>
  OCTAVO_DEVICE static void end_chunk(Machine& m, float (&sums)[kLines]) {
    OCTAVO_UNROLL
    for (int line = 0; line < kLines; ++line) {
      const auto before = m.template load_shared<float>(at(m, line));
      m.store_shared(at(m, line), before + sums[line]);
      sums[line] = 0.0F;
    }
  }

  // What lines have of the listed columns from `first` on; 0 where there is none.
  template <class Machine>
  OCTAVO_DEVICE static void stage(Machine& m, const OutlierTerms& terms, bool down,
                                  const Outputs& outputs, std::int64_t first) {
    const std::int64_t k = terms.column(m, first + m.tid() / kLines);
    const std::int64_t line = outputs.begin + m.tid() % kLines;
    float value = 0.0F;
    if (k >= 0 && line < outputs.end)
      value = down ? terms.right(m, k, line) : terms.left(m, line, k);
    m.sync_named(1, kThreads);  // those before have been read
    m.store_shared(m.shared_base() + kStaged + m.tid() * 4, value);
    m.sync_named(1, kThreads);
  }

  template <class Machine>
  OCTAVO_DEVICE static void add_column(Machine& m, const OutlierTerms& terms, bool down,
                                       std::int64_t place, std::int64_t k, int column,
                                       float (&sums)[kLines]) {
    const bool all = terms.in_all_rows(m, k);
    const float own = down ? terms.left(m, place, k) : terms.right(m, k, place);
    OCTAVO_UNROLL
    for (int line = 0; line < kLines; line += 4) {
      const auto staged = m.template load_shared<Four>(
          m.shared_base() + kStaged + static_cast<std::uint32_t>(column * kLines + line) * 4);
      OCTAVO_UNROLL
      for (int i = 0; i < 4; ++i) {
        const float other = staged.of_line[i];
        terms.add(down ? own : other, all, down ? other : own, sums[line + i]);
      }
    }
  }

  template <class Machine>
  OCTAVO_DEVICE static std::int64_t exact(Machine& m, const Params& p,
                                          const ZeroPointTerms::Line& row,
                                          const ZeroPointTerms::Line& column, std::int64_t i,
                                          std::int64_t j) {
    const std::int64_t from = i * p.sums.strides[0] + j * p.sums.strides[1];
    return ZeroPointTerms::exact(
        m.load_global(static_cast<const std::int32_t*>(p.sums.data) + from), row, column);
  }

  template <class Machine>
  OCTAVO_DEVICE static void write(Machine& m, const Params& p, const Finishing& finishing,
                                  std::int64_t sum, const RowTerms& row, const ColumnTerms& column,
                                  const OutlierSums& outliers, std::int64_t i, std::int64_t j) {
    const MatrixView& out = p.product.out;
    if (out.dtype == DType::int32) {
      const std::int64_t to = i * out.strides[0] + j * out.strides[1];
      return m.store_global(static_cast<std::int32_t*>(out.data) + to, saturated_int32(sum));
    }
    write_float(m, out, i, j,
                finishing.finish(m, static_cast<float>(sum), row, column, outliers, i, j),
                p.overflow);
  }
};

}  // namespace octavo::cuda
