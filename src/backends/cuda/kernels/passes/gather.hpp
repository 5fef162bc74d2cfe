// SPDX-License-Identifier: Apache-2.0
// Rows of a matrix (GatherProblem), a thread a unit of 1 to 16 bytes:
//
//     to[i, u] = from[rows[i] / divisor, u]
#pragma once

#include <array>

#include "backends/cuda/kernels/passes/places.hpp"
#include "backends/cuda/kernels/passes/units.hpp"

namespace octavo::cuda {

struct GatherKernel {
  struct Params {
    const std::int64_t* rows = nullptr;
    std::int64_t divisor = 1;
    const void* from = nullptr;
    void* to = nullptr;
    std::array<std::int64_t, 2> from_strides{}, to_strides{};  ///< in units
    Plane plane;                                               ///< of units
    std::int64_t unit = 1;                                     ///< its bytes
  };
  static constexpr std::uint32_t kThreads = 256, kSharedBytes = 0;

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const Params& p) {
    each_place(m, kThreads, p.plane, [&](std::int64_t i, std::int64_t u) {
      const std::int64_t index = m.load_global(p.rows + i);
      const std::int64_t row = p.divisor == 1 ? index : index / p.divisor;
      const std::int64_t source = row * p.from_strides[0] + u * p.from_strides[1];
      const std::int64_t target = i * p.to_strides[0] + u * p.to_strides[1];
      with_unit(p.unit, [&]<class Unit>(Unit) {
        m.store_global(static_cast<Unit*>(p.to) + target,
                       m.load_global(static_cast<const Unit*>(p.from) + source));
      });
    });
  }
};

}  // namespace octavo::cuda
