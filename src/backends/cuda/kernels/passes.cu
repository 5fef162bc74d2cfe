// SPDX-License-Identifier: Apache-2.0
// Kernels of passes for devices: octavo_<name>.
#include "backends/cuda/kernels/passes.hpp"

#include "backends/cuda/device/device.cuh"

namespace octavo::cuda {

#define OCTAVO_PASS_KERNEL(name, kernel)                         \
  extern "C" __global__ void __launch_bounds__(kernel::kThreads) \
      octavo_##name(const __grid_constant__ kernel::Params p) {  \
    kernel::run(device::Machine(), p);                           \
  }
#include "backends/cuda/kernels/pass_instances.inc"

}  // namespace octavo::cuda
