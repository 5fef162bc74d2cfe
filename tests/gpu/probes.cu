// SPDX-License-Identifier: Apache-2.0
// Probes for a device: wgmma_<type> and mma_sync_<type>.
#include "gpu/probes.hpp"

#include "backends/cuda/device/device.cuh"

namespace octavo::test {

#define OCTAVO_PROBE_KERNEL(name, probe)                                                      \
  extern "C" __global__ void __launch_bounds__(probe::kThreads) name(const probe::Params p) { \
    probe::run(cuda::device::Machine(), p);                                                   \
  }
#define OCTAVO_PROBE(type)                                     \
  OCTAVO_PROBE_KERNEL(wgmma_##type, WgmmaProbe<MmaType::type>) \
  OCTAVO_PROBE_KERNEL(mma_sync_##type, MmaSyncProbe<MmaType::type>)
#include "gpu/probe_types.inc"

}  // namespace octavo::test
