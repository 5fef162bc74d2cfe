// SPDX-License-Identifier: Apache-2.0
// Instances of the dense kernel for sm_90a.
#include "backends/cuda/device/device.cuh"
#include "backends/cuda/kernels/dense.hpp"

namespace octavo::cuda {

#define OCTAVO_DENSE(name, type)                                                    \
  extern "C" __global__ void __cluster_dims__(Dense<MmaType::type>::kCluster, 1, 1) \
      __launch_bounds__(Dense<MmaType::type>::kThreads, 1)                          \
          name(const __grid_constant__ DenseParams<device::Machine::TensorMap> p) { \
    Dense<MmaType::type>::run(device::Machine(), p);                                \
  }

OCTAVO_DENSE(octavo_dense_s8, s8_s8)
OCTAVO_DENSE(octavo_dense_e4m3_fast, e4m3_e4m3)

}  // namespace octavo::cuda
