// SPDX-License-Identifier: Apache-2.0
// Elements of matrices by row and column, so that neighbours in memory are threads' neighbours.
#pragma once

#include <cstdint>

#include "backends/cuda/kernels/passes/pass.hpp"
#include "octavo/matrix.hpp"

namespace octavo::cuda {

/// The places of a matrix, and the way through them: along rows, or down columns.
struct Plane {
  std::int64_t rows = 0, columns = 0;
  bool down = false;
};

/// Those of a matrix that is written: along its neighbours.
inline Plane plane_of(const MatrixView& x) noexcept {
  const auto distance = [](std::int64_t stride) { return stride < 0 ? -stride : stride; };
  return {x.shape[0], x.shape[1],
          x.shape[0] > 1 && distance(x.strides[0]) < distance(x.strides[1])};
}

/// body(i, j) for the places of a matrix that are this thread's.
template <class Machine, class Body>
OCTAVO_DEVICE void each_place(Machine& m, std::uint32_t threads, const Plane& plane,
                              const Body& body) {
  const std::int64_t line = plane.down ? plane.rows : plane.columns;
  const std::int64_t count = plane.rows * plane.columns;
  const bool narrow = count >> 32 == 0;
  each_element(m, threads, count, [&](std::int64_t index) {
    const std::int64_t outer =
        narrow ? static_cast<std::uint32_t>(index) / static_cast<std::uint32_t>(line)
               : index / line;
    const std::int64_t inner = index - outer * line;
    plane.down ? body(inner, outer) : body(outer, inner);
  });
}

}  // namespace octavo::cuda
