// SPDX-License-Identifier: Apache-2.0
// Gradients' sums and zero points (DequantizeSumsProblem, SplitZeroPointsProblem,
// SplitSumsProblem), in float64. There are few of them: a thread each.
//
//     coded -= azp * plain;  azp_gradient = -plain * scale
//     near = azp, cut to [low, low + 255];  rest = near - azp
//     pieces[i, j] = cast(sums[i] - pieces[i, 0] - .. - pieces[i, j - 1])
#pragma once

#include "backends/cuda/kernels/common/elements.hpp"
#include "backends/cuda/kernels/passes/places.hpp"

namespace octavo::cuda {

struct DequantizeSumsKernel {
  struct Params {
    MatrixView plain, coded, azp, scale, azp_gradient;
    Plane plane;
  };
  static constexpr std::uint32_t kThreads = 128, kSharedBytes = 0;

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const Params& p) {
    each_place(m, kThreads, p.plane, [&](std::int64_t i, std::int64_t j) {
      const double sum = m.load_global(static_cast<const double*>(place(p.plain, i, j)));
      if (p.coded.dtype != DType::undefined) {
        auto* coded = static_cast<double*>(place(p.coded, i, j));
        const double shift = static_cast<double>(read_int(m, p.azp, i, j)) * sum;
        m.store_global(coded, m.load_global(static_cast<const double*>(coded)) - shift);
      }
      if (p.azp_gradient.dtype == DType::undefined) return;
      const double gradient = -sum * static_cast<double>(read_float(m, p.scale, i, j));
      write_float(m, p.azp_gradient, i, j, static_cast<float>(gradient));
    });
  }

 private:
  OCTAVO_DEVICE static void* place(const MatrixView& x, std::int64_t i, std::int64_t j) {
    return static_cast<double*>(x.data) + i * x.strides[0] + j * x.strides[1];
  }
};

struct SplitZeroPointsKernel {
  struct Params {
    MatrixView azp;
    std::int64_t low = 0;
    MatrixView near, rest;
  };
  static constexpr std::uint32_t kThreads = 128, kSharedBytes = 0;

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const Params& p) {
    each_element(m, kThreads, p.near.shape[0], [&](std::int64_t i) {
      const std::int64_t azp = read_int(m, p.azp, i, 0);
      const std::int64_t high = p.low + 255;
      const std::int64_t near = azp < p.low ? p.low : azp > high ? high : azp;
      m.store_global(static_cast<std::int32_t*>(p.near.data) + i * p.near.strides[0],
                     static_cast<std::int32_t>(near));
      write_float(m, p.rest, i, 0, static_cast<float>(near - azp));
    });
  }
};

struct SplitSumsKernel {
  struct Params {
    MatrixView sums, pieces;
  };
  static constexpr std::uint32_t kThreads = 128, kSharedBytes = 0;

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const Params& p) {
    each_element(m, kThreads, p.pieces.shape[0], [&](std::int64_t i) {
      double left = m.load_global(static_cast<const double*>(p.sums.data) + i * p.sums.strides[0]);
      with_codec(p.pieces.dtype, [&]<std::size_t row>(Codec<row>) {
        using Raw = typename Codec<row>::Raw;
        auto* piece = static_cast<Raw*>(p.pieces.data) + i * p.pieces.strides[0];
        for (std::int64_t j = 0; j < p.pieces.shape[1]; ++j) {
          const Raw code = Codec<row>::encode(static_cast<float>(left), Overflow::ieee);
          m.store_global(piece + j * p.pieces.strides[1], code);
          const auto stored = static_cast<double>(Codec<row>::decode(code));
          const bool finite = stored - stored == 0.0;
          left = finite ? left - stored : 0.0;
        }
      });
    });
  }
};

}  // namespace octavo::cuda
