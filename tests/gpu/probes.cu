// SPDX-License-Identifier: Apache-2.0
// Probes for a device: wgmma_<type> and mma_sync_<type>, and clock_<name>.
#include "gpu/clock_probes.hpp"
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

// How long a CTA takes, by its multiprocessor's clock.
template <class Probe>
OCTAVO_DEVICE void timed(const ClockParams<cuda::device::TensorMap>& p) {
  const long long begin = clock64();
  Probe::run(cuda::device::Machine(), p);
  __syncthreads();
  if (threadIdx.x == 0) p.cycles[blockIdx.x] = clock64() - begin;
}
#define OCTAVO_CLOCK_PROBE(name, ...)                                                    \
  extern "C" __global__ void __cluster_dims__(__VA_ARGS__::kCluster, 1, 1)               \
      __launch_bounds__(__VA_ARGS__::kThreads)                                           \
          clock_##name(const __grid_constant__ ClockParams<cuda::device::TensorMap> p) { \
    timed<__VA_ARGS__>(p);                                                               \
  }
#include "gpu/clock_probes.inc"

}  // namespace octavo::test
