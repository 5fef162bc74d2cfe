// SPDX-License-Identifier: Apache-2.0
// Every kernel of launch.hpp's table, compiled for the simulator.
#pragma once

#include <cstddef>

#include "backends/cuda/launch/launch.hpp"
#include "simulator/options.hpp"

namespace octavo::cuda::simulated {

struct KernelRow {
  bool hopper;  ///< needs sm_90a
  std::size_t params_bytes;
  std::uint32_t cluster, threads, shared_bytes, registers;  ///< as its launch bounds say
  simulator::Counters (*run)(const simulator::Launch& launch, const simulator::Options& options,
                             const void* params);
};

/// The row of a kernel.
const KernelRow& kernel_row(KernelId kernel) noexcept;

}  // namespace octavo::cuda::simulated
