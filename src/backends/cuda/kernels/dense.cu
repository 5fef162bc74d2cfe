// SPDX-License-Identifier: Apache-2.0
// Instances of the dense kernel for sm_90a.
#include "backends/cuda/device/device.cuh"
#include "backends/cuda/kernels/dense.hpp"

namespace octavo::cuda {

#define OCTAVO_DENSE(name, ...)                                                     \
  extern "C" __global__ void __cluster_dims__(Dense<__VA_ARGS__>::kCluster, 1, 1)   \
      __launch_bounds__(Dense<__VA_ARGS__>::kThreads, 1)                            \
          name(const __grid_constant__ DenseParams<device::Machine::TensorMap> p) { \
    Dense<__VA_ARGS__>::run(device::Machine(), p);                                  \
  }

OCTAVO_DENSE(octavo_dense_s8, MmaType::s8_s8)
OCTAVO_DENSE(octavo_dense_u8_s8, MmaType::u8_s8)
OCTAVO_DENSE(octavo_dense_e4m3, MmaType::e4m3_e4m3, Summing::promoted)
OCTAVO_DENSE(octavo_dense_e4m3_fast, MmaType::e4m3_e4m3)

}  // namespace octavo::cuda
