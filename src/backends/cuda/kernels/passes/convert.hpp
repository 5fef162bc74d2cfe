// SPDX-License-Identifier: Apache-2.0
// Elements of a view to those of another of its shape (ConvertProblem), and one value for all of
// them (FillProblem). A thread an element.
//
//     to[i0, i1, ..] = from[i0, i1, ..], as section 1 converts
#pragma once

#include "backends/cuda/kernels/common/elements.hpp"
#include "backends/cuda/kernels/passes/pass.hpp"
#include "backends/cuda/kernels/passes/units.hpp"

namespace octavo::cuda {

struct ConvertKernel {
  struct Params {
    TensorView from, to;  ///< of one shape
    Overflow overflow = Overflow::saturate;
    std::int64_t count = 0;  ///< of elements
    std::int64_t bytes = 0;  ///< of an element of either, where they have one type: it is copied
  };
  static constexpr std::uint32_t kThreads = 256, kSharedBytes = 0;

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const Params& p) {
    each_element(m, kThreads, p.count, [&](std::int64_t i) {
      std::int64_t source = 0, target = 0;
      for (int d = p.to.rank - 1; d >= 0; --d) {
        const auto at = static_cast<std::size_t>(d);
        const std::int64_t index = i % p.to.shape[at];
        i /= p.to.shape[at];
        source += index * p.from.strides[at];
        target += index * p.to.strides[at];
      }
      if (p.bytes != 0)
        return with_unit(p.bytes, [&]<class Unit>(Unit) {
          m.store_global(static_cast<Unit*>(p.to.data) + target,
                         m.load_global(static_cast<const Unit*>(p.from.data) + source));
        });
      if (p.from.dtype == DType::float64) {
        const double wide = m.load_global(static_cast<const double*>(p.from.data) + source);
        return write_float(m, p.to.dtype, p.to.data, target, static_cast<float>(wide), p.overflow);
      }
      with_codec(p.from.dtype, [&]<std::size_t row>(Codec<row>) {
        using Raw = typename Codec<row>::Raw;
        store(m, p, Codec<row>(), m.load_global(static_cast<const Raw*>(p.from.data) + source),
              target);
      });
    });
  }

 private:
  // Integers of 32 and 64 bits stay exact.
  template <class Machine, std::size_t row>
  OCTAVO_DEVICE static void store(Machine& m, const Params& p, Codec<row>,
                                  typename Codec<row>::Raw raw, std::int64_t target) {
    if constexpr (Codec<row>::kInteger) {
      if (p.to.dtype == DType::int64) {
        return m.store_global(static_cast<std::int64_t*>(p.to.data) + target,
                              static_cast<std::int64_t>(raw));
      }
      if (p.to.dtype == DType::int32) {
        return m.store_global(static_cast<std::int32_t*>(p.to.data) + target,
                              static_cast<std::int32_t>(raw));
      }
    }
    write_float(m, p.to.dtype, p.to.data, target, Codec<row>::decode(raw), p.overflow);
  }
};

struct FillKernel {
  struct Params {
    TensorView to;
    float value = 0.0F;
    std::int64_t count = 0;
  };
  static constexpr std::uint32_t kThreads = 256, kSharedBytes = 0;

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const Params& p) {
    each_element(m, kThreads, p.count, [&](std::int64_t i) {
      std::int64_t target = 0;
      for (int d = p.to.rank - 1; d >= 0; --d) {
        const auto at = static_cast<std::size_t>(d);
        target += i % p.to.shape[at] * p.to.strides[at];
        i /= p.to.shape[at];
      }
      if (p.to.dtype == DType::float64)
        return m.store_global(static_cast<double*>(p.to.data) + target,
                              static_cast<double>(p.value));
      if (p.to.dtype == DType::int64)
        return m.store_global(static_cast<std::int64_t*>(p.to.data) + target,
                              static_cast<std::int64_t>(p.value));
      write_float(m, p.to.dtype, p.to.data, target, p.value, Overflow::saturate);
    });
  }
};

}  // namespace octavo::cuda
