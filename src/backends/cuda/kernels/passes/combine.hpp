// SPDX-License-Identifier: Apache-2.0
// Section 7: what experts made of a token, added up in ascending slots. A thread an element of out.
//
//     out[m, j] = cast(sum over t of factors[m, t] * rows[places[m, t], j]), places[m, t] >= 0
#pragma once

#include "backends/cuda/kernels/common/elements.hpp"
#include "backends/cuda/kernels/passes/places.hpp"

namespace octavo::cuda {

struct CombineKernel {
  struct Params {
    MatrixView rows;  ///< float32
    std::int64_t slots = 0;
    const std::int64_t* places = nullptr;  ///< [M][slots]
    const float* factors = nullptr;        ///< [M][slots]; null: all 1
    MatrixView out;
    Overflow overflow = Overflow::saturate;
    Plane plane;
  };
  static constexpr std::uint32_t kThreads = 256, kSharedBytes = 0;

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const Params& p) {
    const float* rows = static_cast<const float*>(p.rows.data);
    each_place(m, kThreads, p.plane, [&](std::int64_t i, std::int64_t j) {
      float sum = 0.0F;
      for (std::int64_t slot = i * p.slots; slot < (i + 1) * p.slots; ++slot) {
        const std::int64_t place = m.load_global(p.places + slot);
        if (place < 0) continue;
        float y = m.load_global(rows + place * p.rows.strides[0] + j * p.rows.strides[1]);
        if (p.factors != nullptr) y = m.load_global(p.factors + slot) * y;
        sum = sum + y;
      }
      write_float(m, p.out, i, j, sum, p.overflow);
    });
  }
};

}  // namespace octavo::cuda
