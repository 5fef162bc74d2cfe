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

#include "backends/cuda/kernels/common/finishing.hpp"
#include "backends/cuda/kernels/passes/places.hpp"

namespace octavo::cuda {

/// How a plane is cut into pieces, for the host and the kernels that finish sums.
struct FinishPieces {
  static constexpr std::uint32_t kThreads = 256;
  std::int64_t length, lines;  ///< along the neighbours, and across them
  std::int64_t depth, across;  ///< lines of a piece; pieces along the neighbours

  OCTAVO_HOST_DEVICE FinishPieces(const Plane& plane, std::int64_t deep)
      : length(plane.down ? plane.rows : plane.columns),
        lines(plane.down ? plane.columns : plane.rows),
        depth(deep),
        across((length + kThreads - 1) / kThreads) {}

  OCTAVO_HOST_DEVICE std::int64_t count() const { return across * ((lines + depth - 1) / depth); }
  /// A thread's place along the neighbours, which may lie beyond `length`.
  OCTAVO_HOST_DEVICE std::int64_t place(std::int64_t piece, std::uint32_t thread) const {
    return piece % across * kThreads + thread;
  }
  OCTAVO_HOST_DEVICE std::int64_t begin(std::int64_t piece) const { return piece / across * depth; }
  OCTAVO_HOST_DEVICE std::int64_t end(std::int64_t piece) const {
    return begin(piece) + depth < lines ? begin(piece) + depth : lines;
  }
};

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
  static constexpr std::uint32_t kThreads = FinishPieces::kThreads, kSharedBytes = 0;

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const Params& p) {
    const Plane& plane = p.plane;
    const FinishPieces pieces(plane, p.depth);
    const Finishing finishing(m, p.product, p.empty, p.torch_compat);
    each_piece(m, pieces.count(), [&](std::int64_t piece) {
      const std::int64_t place = pieces.place(piece, m.tid());
      if (place >= pieces.length) return;
      const std::int64_t begin = pieces.begin(piece), end = pieces.end(piece);
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
