// SPDX-License-Identifier: Apache-2.0
// Instances of the dense kernel for sm_80 and later devices: octavo_mma_<name>_<tile>.
#include "backends/cuda/kernels/sm80/mma.hpp"

#include "backends/cuda/device/device.cuh"

namespace octavo::cuda {

#define OCTAVO_MMA(name, ...)                                              \
  extern "C" __global__ void __launch_bounds__(Mma<__VA_ARGS__>::kThreads, Mma<__VA_ARGS__>::kResident) \
      name(const __grid_constant__ MmaParams p) {                          \
    Mma<__VA_ARGS__>::run(device::Machine(), p);                           \
  }
#define OCTAVO_MMA_INSTANCE(name, type, terms) \
  OCTAVO_MMA(octavo_mma_##name##_large, MmaType::type, kLargeTile, MmaTerms::terms) \
  OCTAVO_MMA(octavo_mma_##name##_small, MmaType::type, kSmallTile, MmaTerms::terms)
#include "backends/cuda/kernels/sm80/mma_instances.inc"

}  // namespace octavo::cuda
