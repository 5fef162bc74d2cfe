// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/mma_product.hpp"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <limits>

#include "core/error.hpp"

namespace octavo::cuda {
namespace {

struct Instance {
  MmaType type;
  KernelId large, small;
};
constexpr Instance kInstances[] = {
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

}  // namespace

Status launch_mma(MmaType type, const MatrixView& a, const MatrixView& b, const FullEpilogue& full,
                  const Place& place) noexcept {
  const Instance* row =
      std::find_if(std::begin(kInstances), std::end(kInstances),
                   [type](const Instance& instance) { return instance.type == type; });
  if (row == std::end(kInstances))
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
  return 2 * tiles_of<Large>(params) < std::int64_t{multiprocessors(place)}
             ? launch_tiles<Small>(row->small, params, place)
             : launch_tiles<Large>(row->large, params, place);
}

}  // namespace octavo::cuda
