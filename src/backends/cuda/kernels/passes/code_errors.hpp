// SPDX-License-Identifier: Apache-2.0
// What codes lose of the values that they stand for, in float64: sums of each CTA, in an order that
// depends on its shape alone.
//
//     error = w - float32(code * scale)      signal += w^2      noise += error^2
#pragma once

#include "backends/cuda/kernels/common/elements.hpp"
#include "backends/cuda/kernels/common/octet.hpp"
#include "backends/cuda/kernels/passes/pass.hpp"

namespace octavo::cuda {

/// CodeErrors of a CTA.
struct ErrorSums {
  double signal = 0, noise = 0, largest = 0;
  std::int64_t saturated = 0;
  std::int64_t not_finite = 0;
};

struct CodeErrorsKernel {
  struct Params {
    MatrixView values, codes, scales;
    ScaleGrid grid;  ///< no larger than the matrix
    float largest = 0.0F;
    ErrorSums* sums = nullptr;  ///< one for each CTA
  };
  static constexpr std::uint32_t kThreads = 256;
  static constexpr std::uint32_t kSharedBytes = kThreads * sizeof(ErrorSums);

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const Params& p) {
    const std::int64_t columns = p.values.shape[1];
    ErrorSums own;
    each_element(m, kThreads, p.values.shape[0] * columns, [&](std::int64_t t) {
      const std::int64_t i = quotient_of(t, columns), j = t - i * columns;
      const float w = read_wide(m, p.values.dtype, p.values.data,
                                i * p.values.strides[0] + j * p.values.strides[1]);
      const float scale =
          read_float(m, p.scales, quotient_of(i, p.grid.rows), quotient_of(j, p.grid.cols));
      add(own, w, read_float(m, p.codes, i, j), scale, p.largest);
    });
    store(m, m.tid(), own);
    for (std::uint32_t step = kThreads / 2; step > 0; step /= 2) {
      m.sync_warp();  // whose lanes may have parted
      m.sync_named(1, kThreads);
      if (m.tid() >= step) continue;
      join(own, load(m, m.tid() + step));
      store(m, m.tid(), own);
    }
    if (m.tid() == 0) m.store_global(p.sums + m.block(), own);
  }

 private:
  OCTAVO_DEVICE static void add(ErrorSums& sums, float w, float code, float scale, float largest) {
    const double value = static_cast<double>(w);
    const double error = value - static_cast<double>(code * scale);
    const double distance = error < 0.0 ? -error : error;
    sums.signal += value * value;
    sums.noise += error * error;
    sums.largest = distance > sums.largest ? distance : sums.largest;
    sums.saturated += (code < 0.0F ? -code : code) >= largest ? 1 : 0;
    const std::uint32_t magnitude = std::bit_cast<std::uint32_t>(w) & 0x7FFFFFFFU;
    sums.not_finite += magnitude >= 0x7F800000U ? 1 : 0;
  }
  OCTAVO_DEVICE static void join(ErrorSums& sums, const ErrorSums& other) {
    sums.signal += other.signal;
    sums.noise += other.noise;
    sums.largest = other.largest > sums.largest ? other.largest : sums.largest;
    sums.saturated += other.saturated;
    sums.not_finite += other.not_finite;
  }
  // Word `w` of thread t at (w * threads + t) * 8.
  template <class Machine>
  OCTAVO_DEVICE static std::uint32_t place(Machine& m, std::uint32_t t, std::uint32_t word) {
    return m.shared_base() + (word * kThreads + t) * 8;
  }
  template <class Machine>
  OCTAVO_DEVICE static void store(Machine& m, std::uint32_t t, const ErrorSums& sums) {
    m.store_shared(place(m, t, 0), sums.signal);
    m.store_shared(place(m, t, 1), sums.noise);
    m.store_shared(place(m, t, 2), sums.largest);
    m.store_shared(place(m, t, 3), sums.saturated);
    m.store_shared(place(m, t, 4), sums.not_finite);
  }
  template <class Machine>
  OCTAVO_DEVICE static ErrorSums load(Machine& m, std::uint32_t t) {
    return {m.template load_shared<double>(place(m, t, 0)),
            m.template load_shared<double>(place(m, t, 1)),
            m.template load_shared<double>(place(m, t, 2)),
            m.template load_shared<std::int64_t>(place(m, t, 3)),
            m.template load_shared<std::int64_t>(place(m, t, 4))};
  }
};

}  // namespace octavo::cuda
