// SPDX-License-Identifier: Apache-2.0
// Section 3 from exact sums of products of codes on, with zero points and outliers:
//
//   s[i, j]   = the sum of codes less zero points                         (zero_point_terms.hpp)
//   out[i, j] = cast(epilogue(float(s) ...)) with the outlier term        (finishing.hpp,
//               or s itself, saturated to int32                            outlier_terms.hpp)
//
//   a piece as FinishKernel's. Outlier terms of a thread's outputs come first, a listed column at a
//   time: what the outputs share of it (an element of B, or of A) is read once
//
//        thread ->            shared memory: [kMostDepth][256 threads] outlier sums, each thread's
//        own
//      +-----------------+
//      | | | | | | | | | |    depth
//      v                 v
#pragma once

#include "backends/cuda/kernels/outlier_terms.hpp"
#include "backends/cuda/kernels/passes/places.hpp"
#include "backends/cuda/kernels/zero_point_terms.hpp"

namespace octavo::cuda {

struct FinishSumsKernel {
  struct Params {
    MatrixView sums;  ///< int32
    Member product;
    CodeSums codes;
    Plane plane;
    std::int64_t depth = 1;  ///< at most kMostDepth
    Overflow overflow = Overflow::saturate;
    bool empty = false;  ///< K = 0
    bool torch_compat = false;
  };
  static constexpr int kMostDepth = 16;
  static constexpr std::uint32_t kThreads = 256, kSharedBytes = kMostDepth * kThreads * 4;

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const Params& p) {
    const Plane& plane = p.plane;
    const std::int64_t length = plane.down ? plane.rows : plane.columns;
    const std::int64_t lines = plane.down ? plane.columns : plane.rows;
    const std::int64_t across = (length + kThreads - 1) / kThreads;
    const std::int64_t deep = (lines + p.depth - 1) / p.depth;
    const Finishing finishing(m, p.product, p.empty, p.torch_compat);
    const ZeroPointTerms zero_points(p.product, p.codes);
    const OutlierTerms outliers(p.product, p.empty);
    each_piece(m, across * deep, [&](std::int64_t piece) {
      const std::int64_t place = piece % across * kThreads + m.tid();
      if (place >= length) return;
      const std::int64_t begin = piece / across * p.depth;
      const std::int64_t end = begin + p.depth < lines ? begin + p.depth : lines;
      const bool any = put_outliers(m, outliers, plane.down, place, begin, end);
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
  // Where the thread keeps the outlier sum of one of its outputs.
  template <class Machine>
  OCTAVO_DEVICE static std::uint32_t at(Machine& m, std::int64_t line) {
    return m.shared_base() + (static_cast<std::uint32_t>(line) * kThreads + m.tid()) * 4;
  }

  template <class Machine>
  OCTAVO_DEVICE static bool put_outliers(Machine& m, const OutlierTerms& terms, bool down,
                                         std::int64_t place, std::int64_t begin, std::int64_t end) {
    float sums[kMostDepth] = {};
    const bool any = terms.each(m, [&](std::int64_t k, bool all) {
      const float shared = down ? terms.left(m, place, k) : terms.right(m, k, place);
      OCTAVO_UNROLL
      for (int d = 0; d < kMostDepth; ++d) {
        if (begin + d >= end) continue;
        if (down) {
          terms.add(shared, all, terms.right(m, k, begin + d), sums[d]);
        } else {
          terms.add(terms.left(m, begin + d, k), all, shared, sums[d]);
        }
      }
    });
    if (!any) return false;
    OCTAVO_UNROLL
    for (int d = 0; d < kMostDepth; ++d) m.store_shared(at(m, d), sums[d]);
    return true;
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
