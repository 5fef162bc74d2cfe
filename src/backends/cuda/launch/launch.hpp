// SPDX-License-Identifier: Apache-2.0
// Launches of the kernels that the tables beside them name, on whatever the driver is: a device's,
// or the simulator's in tests.
#pragma once

#include <cstddef>
#include <cstdint>

#include "octavo/status.hpp"
#include "octavo/tensor.hpp"

namespace octavo::cuda {

/// Every kernel, by the rows of kernels/*.inc.
enum class KernelId : std::uint16_t {
#define OCTAVO_DENSE_INSTANCE(name, ...) dense_##name,
#include "backends/cuda/kernels/sm90/dense_instances.inc"
#undef OCTAVO_DENSE_INSTANCE
#define OCTAVO_FEW_ROWS_INSTANCE(name, ...) few_rows_##name,
#include "backends/cuda/kernels/sm90/few_rows_instances.inc"
#undef OCTAVO_FEW_ROWS_INSTANCE
#define OCTAVO_MMA_INSTANCE(name, ...) mma_##name##_large, mma_##name##_small,
#include "backends/cuda/kernels/sm80/mma_instances.inc"
#undef OCTAVO_MMA_INSTANCE
#define OCTAVO_PASS_KERNEL(name, kernel) name,
#include "backends/cuda/kernels/pass_instances.inc"
#undef OCTAVO_PASS_KERNEL
  count
};

/// What a device has its kernel by: "octavo_convert".
const char* kernel_name(KernelId kernel) noexcept;

struct LaunchShape {
  std::uint32_t blocks = 1;  ///< CTAs, a multiple of those in a cluster
  std::uint32_t threads = 1;
  std::uint32_t shared_bytes = 0;
};

/// Queues a kernel; `params` are its struct, which is copied.
Status launch(KernelId kernel, const LaunchShape& shape, const void* params,
              const Place& place) noexcept;

/// Those of the device; 1 where it cannot be used.
std::uint32_t multiprocessors(const Place& place) noexcept;

/// CTAs for so many pieces of work: at most as many as keep the device busy.
std::uint32_t blocks_for(std::int64_t pieces, const Place& place) noexcept;

/// A pass's kernel over `pieces` of work, one for each CTA or fewer: where there are none nothing
/// is launched.
template <class Kernel>
Status launch_pass(KernelId id, std::int64_t pieces, const typename Kernel::Params& params,
                   const Place& place) noexcept {
  static_assert(sizeof(params) <= 4096, "a kernel's parameters have 4 KiB");
  if (pieces <= 0) return {};
  return launch(id, {blocks_for(pieces, place), Kernel::kThreads, Kernel::kSharedBytes}, &params,
                place);
}

/// The same with a thread for each of `elements`.
template <class Kernel>
Status launch_elements(KernelId id, std::int64_t elements, const typename Kernel::Params& params,
                       const Place& place) noexcept {
  return launch_pass<Kernel>(id, (elements + Kernel::kThreads - 1) / Kernel::kThreads, params,
                             place);
}

}  // namespace octavo::cuda
