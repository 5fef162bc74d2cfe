// SPDX-License-Identifier: Apache-2.0
// ConvertProblem of matrices of which one has contiguous along rows, the other down columns: a
// weight that tensor cores want as rows of K, for one. Of types of 32 bits and fewer.
#pragma once

#include <bit>

#include "backends/cuda/kernels/common/elements.hpp"
#include "backends/cuda/kernels/passes/transposed_tile.hpp"
#include "backends/cuda/kernels/passes/units.hpp"

namespace octavo::cuda {

struct ConvertTransposedKernel {
  struct Params {
    MatrixView from, to;
    Plane plane;  ///< of `to`
    Overflow overflow = Overflow::saturate;
    std::int64_t bytes = 0;  ///< as ConvertKernel's
  };
  static constexpr std::uint32_t kThreads = TransposedTile::kThreads;
  static constexpr std::uint32_t kSharedBytes = TransposedTile::kSharedBytes;

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const Params& p) {
    const auto read = [&](std::int64_t i, std::int64_t j) -> std::uint32_t {
      if (p.bytes == 0) return std::bit_cast<std::uint32_t>(read_float(m, p.from, i, j));
      const std::int64_t at = i * p.from.strides[0] + j * p.from.strides[1];
      std::uint32_t word = 0;
      with_word(p.bytes, [&]<class Unit>(Unit) {
        word = m.load_global(static_cast<const Unit*>(p.from.data) + at);
      });
      return word;
    };
    const auto write = [&](std::int64_t i, std::int64_t j, std::uint32_t word) {
      if (p.bytes == 0) return write_float(m, p.to, i, j, std::bit_cast<float>(word), p.overflow);
      const std::int64_t at = i * p.to.strides[0] + j * p.to.strides[1];
      with_word(p.bytes, [&]<class Unit>(Unit) {
        m.store_global(static_cast<Unit*>(p.to.data) + at, static_cast<Unit>(word));
      });
    };
    each_transposed(m, p.plane, read, write);
  }
};

}  // namespace octavo::cuda
