// SPDX-License-Identifier: Apache-2.0
// Section 3 from sums on (FinishProblem):
//
//   out[i, j] = cast(epilogue((sums[i, j] * scale_a) * scale_b)), or the int32 sum as it is
//
//   a piece: 256 places along the output's neighbours, a thread each, `depth` of them deep
//
//        thread ->            what a thread keeps: the factors of its column (of its row, where
//      +-----------------+    neighbours are rows); what it reads at each step: a sum, the factors
//      | | | | | | | | | |    of the row (of the column), an element of C
//      v                 v
#pragma once

#include "backends/cuda/kernels/finishing.hpp"
#include "backends/cuda/kernels/passes/places.hpp"

namespace octavo::cuda {

struct FinishKernel {
  struct Params {
    MatrixView sums;  ///< int32 or float32
    Member product;
    Plane plane;
    std::int64_t depth = 1;
    Overflow overflow = Overflow::saturate;
    bool empty = false;  ///< K = 0
    bool torch_compat = false;
  };
  static constexpr std::uint32_t kThreads = 256, kSharedBytes = 0;

  /// Pieces along the neighbours, and those of all.
  static std::int64_t across(const Plane& plane) noexcept {
    return ((plane.down ? plane.rows : plane.columns) + kThreads - 1) / kThreads;
  }
  static std::int64_t pieces(const Plane& plane, std::int64_t depth) noexcept {
    const std::int64_t lines = plane.down ? plane.columns : plane.rows;
    return across(plane) * ((lines + depth - 1) / depth);
  }

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const Params& p) {
    const Plane& plane = p.plane;
    const std::int64_t length = plane.down ? plane.rows : plane.columns;
    const std::int64_t lines = plane.down ? plane.columns : plane.rows;
    const std::int64_t across = (length + kThreads - 1) / kThreads;
    const std::int64_t deep = (lines + p.depth - 1) / p.depth;
    const Finishing finishing(m, p.product, p.empty, p.torch_compat);
    each_piece(m, across * deep, [&](std::int64_t piece) {
      const std::int64_t place = piece % across * kThreads + m.tid();
      if (place >= length) return;
      const std::int64_t begin = piece / across * p.depth;
      const std::int64_t end = begin + p.depth < lines ? begin + p.depth : lines;
      if (plane.down) {
        const RowTerms row = finishing.row(m, place);
        for (std::int64_t j = begin; j < end; ++j)
          element(m, p, finishing, row, finishing.column(m, j), place, j);
      } else {
        const ColumnTerms column = finishing.column(m, place);
        for (std::int64_t i = begin; i < end; ++i)
          element(m, p, finishing, finishing.row(m, i), column, i, place);
      }
    });
  }

 private:
  template <class Machine>
  OCTAVO_DEVICE static void element(Machine& m, const Params& p, const Finishing& finishing,
                                    const RowTerms& row, const ColumnTerms& column, std::int64_t i,
                                    std::int64_t j) {
    const std::int64_t from = i * p.sums.strides[0] + j * p.sums.strides[1];
    const MatrixView& out = p.product.out;
    std::int32_t exact = 0;
    float sum;
    if (p.sums.dtype == DType::int32) {
      exact = m.load_global(static_cast<const std::int32_t*>(p.sums.data) + from);
      sum = static_cast<float>(exact);
    } else {
      sum = m.load_global(static_cast<const float*>(p.sums.data) + from);
    }
    if (out.dtype == DType::int32) {
      const std::int64_t to = i * out.strides[0] + j * out.strides[1];
      return m.store_global(static_cast<std::int32_t*>(out.data) + to, exact);
    }
    write_float(m, out, i, j, finishing.finish(m, sum, row, column, {}, i, j), p.overflow);
  }
};

}  // namespace octavo::cuda
