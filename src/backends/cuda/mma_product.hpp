// SPDX-License-Identifier: Apache-2.0
// Launches of the dense kernel that every device from sm_80 on has.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <limits>

#include "backends/cuda/kernels/mma.hpp"
#include "backends/cuda/launch.hpp"
#include "core/error.hpp"
#include "octavo/matrix.hpp"
#include "octavo/status.hpp"

namespace octavo::cuda {
namespace mma {

struct Instance {
  MmaType type;
  KernelId large, small;
};
inline constexpr Instance kInstances[] = {
#define OCTAVO_MMA_INSTANCE(name, type) \
  {MmaType::type, KernelId::mma_##name##_large, KernelId::mma_##name##_small},
#include "backends/cuda/kernels/mma_instances.inc"
#undef OCTAVO_MMA_INSTANCE
};

// Of all types alike.
using Large = Mma<MmaType::s8_s8, kLargeTile>;
using Small = Mma<MmaType::s8_s8, kSmallTile>;

template <class Kernel>
std::int64_t tiles_of(const MmaParams& p) noexcept {
  return (std::int64_t{p.m} + Kernel::kRows - 1) / Kernel::kRows *
         ((std::int64_t{p.n} + Kernel::kColumns - 1) / Kernel::kColumns);
}

// A CTA for each tile: the device runs them in their order.
template <class Kernel>
Status launch_tiles(KernelId kernel, const MmaParams& params, const Place& place) noexcept {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  const auto blocks = static_cast<std::uint32_t>(std::min(tiles_of<Kernel>(params), kMost));
  return launch(kernel, {blocks, Kernel::kThreads, Kernel::kSharedBytes}, &params, place);
}

}  // namespace mma

/// Queues section 3 of A[M, K] B[N, K]^T, rows of K at multiples of 16 bytes, into `full.out`.
inline Status launch_mma(MmaType type, const MatrixView& a, const MatrixView& b,
                         const FullEpilogue& full, const Place& place) noexcept {
  const mma::Instance* row =
      std::find_if(std::begin(mma::kInstances), std::end(mma::kInstances),
                   [type](const mma::Instance& instance) { return instance.type == type; });
  if (row == std::end(mma::kInstances))
    return fail(Code::internal, "dense product: no kernel of that type");
  const std::int64_t bytes = element_bytes(a.dtype);
  MmaParams params;
  params.a = static_cast<const std::uint8_t*>(a.data);
  params.b = static_cast<const std::uint8_t*>(b.data);
  params.pitch_a = a.strides[0] * bytes;
  params.pitch_b = b.strides[0] * bytes;
  params.m = static_cast<std::int32_t>(a.shape[0]);
  params.n = static_cast<std::int32_t>(b.shape[0]);
  params.k_bytes = static_cast<std::int32_t>(a.shape[1] * bytes);
  params.full = full;
  // Small tiles read operands twice as often for each product: they are taken where large ones
  // leave more than half of the device idle. Their bits are the same.
  return 2 * mma::tiles_of<mma::Large>(params) < std::int64_t{multiprocessors(place)}
             ? mma::launch_tiles<mma::Small>(row->small, params, place)
             : mma::launch_tiles<mma::Large>(row->large, params, place);
}

}  // namespace octavo::cuda
