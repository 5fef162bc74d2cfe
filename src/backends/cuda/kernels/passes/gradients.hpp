// SPDX-License-Identifier: Apache-2.0
// What gradients do to elements beside their products (RescaleProblem, MaskProblem,
// LearnedStepProblem), in float32, each step rounded by itself. A thread an element.
//
//     out[i, j] = cast((source[i, j] - azp(i, j)) / divisor * scales[0](i, j) * ...)
//     out[i, j] = low <= value[i, j] * scale[j] <= high ? grad[i, j] : 0
//     grad_x[i, j] = inside ? grad[i, j] : 0;   slopes[i, j]: core/scales/learned_step.hpp
#pragma once

#include <array>
#include <bit>

#include "backends/cuda/kernels/common/elements.hpp"
#include "backends/cuda/kernels/passes/places.hpp"
#include "backends/cuda/kernels/passes/transposed_tile.hpp"
#include "core/scales/learned_step.hpp"

namespace octavo::cuda {

struct RescaleKernel {
  struct Params {
    MatrixView source;
    ScaleView azp;
    std::array<ScaleView, 5> scales;
    MatrixView out;
    Plane plane;
    float divisor = 1.0F;
  };
  static constexpr std::uint32_t kThreads = 256, kSharedBytes = 0;

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const Params& p) {
    each_place(m, kThreads, p.plane, [&](std::int64_t i, std::int64_t j) {
      write_float(m, p.out, i, j, value(m, p, i, j));
    });
  }

  template <class Machine>
  OCTAVO_DEVICE static float value(Machine& m, const Params& p, std::int64_t i, std::int64_t j) {
    float x = read_float(m, p.source, i, j);
    if (p.azp.kind != ScaleKind::none) {
      const std::int64_t azp = read_int(m, p.azp.data, cell_of(p.azp.row0 + i, p.azp.rows),
                                        cell_of(p.azp.col0 + j, p.azp.cols));
      x = static_cast<float>(static_cast<double>(x) - static_cast<double>(azp));
    }
    if (p.divisor != 1.0F) x /= p.divisor;
    for (const ScaleView& scale : p.scales)
      if (scale.kind != ScaleKind::none) x *= read_scale(m, scale, i, j);
    return x;
  }
};

/// Of a source and an output whose neighbours lie along different dimensions.
struct RescaleTransposedKernel {
  using Params = RescaleKernel::Params;
  static constexpr std::uint32_t kThreads = TransposedTile::kThreads;
  static constexpr std::uint32_t kSharedBytes = TransposedTile::kSharedBytes;

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const Params& p) {
    const auto read = [&](std::int64_t i, std::int64_t j) {
      return std::bit_cast<std::uint32_t>(RescaleKernel::value(m, p, i, j));
    };
    const auto write = [&](std::int64_t i, std::int64_t j, std::uint32_t word) {
      write_float(m, p.out, i, j, std::bit_cast<float>(word));
    };
    each_transposed(m, p.plane, read, write);
  }
};

struct MaskKernel {
  struct Params {
    MatrixView grad, value;
    Factor scale;
    float low = 0.0F, high = 0.0F;
    MatrixView out;
    Plane plane;
  };
  static constexpr std::uint32_t kThreads = 256, kSharedBytes = 0;

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const Params& p) {
    each_place(m, kThreads, p.plane, [&](std::int64_t i, std::int64_t j) {
      const float y = read_float(m, p.value, i, j) * read_factor(m, p.scale, j);
      const bool inside = y >= p.low && y <= p.high;
      write_float(m, p.out, i, j, inside ? read_float(m, p.grad, i, j) : 0.0F);
    });
  }
};

struct LearnedStepKernel {
  struct Params {
    MatrixView x;
    DType dtype = DType::undefined;
    Overflow overflow = Overflow::saturate;
    ScaleView scale;
    MatrixView azp, grad, grad_x, slopes;
    Plane plane;
  };
  static constexpr std::uint32_t kThreads = 256, kSharedBytes = 0;

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const Params& p) {
    each_place(m, kThreads, p.plane, [&](std::int64_t i, std::int64_t j) {
      const float q = read_float(m, p.x, i, j) / read_scale(m, p.scale, i, j);
      bool inside = false;
      float slope = 0.0F;
      with_codec(p.dtype, [&]<std::size_t row>(Codec<row>) {
        if constexpr (Codec<row>::kKind == DTypeKind::float8) {
          const float code = Codec<row>::decode(Codec<row>::encode(q, p.overflow));
          inside = float_step(q, code, Codec<row>::kFormat.max(), slope);
        } else if constexpr (Codec<row>::kKind == DTypeKind::integer) {
          std::int64_t azp = 0;
          if (p.azp.dtype != DType::undefined)
            azp = read_int(m, p.azp, cell_of(i, p.scale.rows), cell_of(j, p.scale.cols));
          inside = integer_step(q, static_cast<double>(azp), lowest_code(Codec<row>::kType), slope);
        }
      });
      if (p.slopes.dtype != DType::undefined)
        m.store_global(static_cast<float*>(p.slopes.data) + i * p.slopes.strides[0] + j, slope);
      if (p.grad_x.dtype != DType::undefined)
        write_float(m, p.grad_x, i, j, inside ? read_float(m, p.grad, i, j) : 0.0F);
    });
  }

 private:
  OCTAVO_HOST_DEVICE static constexpr double lowest_code(DType dtype) {
    return dtype == DType::int8 ? -128.0 : 0.0;
  }
};

}  // namespace octavo::cuda
